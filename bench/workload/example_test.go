package workload_test

import (
	"fmt"
	"math/rand/v2"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// A policy of the size of a small tenant, flows of which nine of ten are
// allowed, and the packet that opens one of them.
func Example() {
	r := rand.New(rand.NewPCG(1, 2))
	s := workload.Policy(r, workload.Shape{Groups: 4, RulesPerGroup: 5, Interfaces: 10, GroupsPerInterface: 2})
	m, err := compile.Compile(s)
	if err != nil {
		fmt.Println(err)
		return
	}
	prog := m.Program()
	flows := workload.Flows(r, prog, 1_000, 0.9)
	accepted := 0
	for _, f := range flows {
		i, _ := m.Interface(f.Interface)
		if m.Match(i.Index, f.Direction, f.Flow).Action == sg.Accept {
			accepted++
		}
	}
	fmt.Println(s.Size(), "and about", (accepted+50)/100*10, "% accepted")

	f := flows[0]
	var p packet.Packet
	err = packet.Decode(f.Packet(f.Local(prog), 40_000), &p)
	fmt.Println(f.Interface, f.Direction, p.Tuple, err)
	// Output:
	// {4 0 10} and about 90 % accepted
	// if-000000 egress tcp 10.0.0.4:40000 > 126.141.163.116:58744 <nil>
}

// W100: a hundred rules in the one group of one interface.
func ExampleRules() {
	rules := workload.Rules(rand.New(rand.NewPCG(1, 2)), 100)
	for _, r := range rules[:4] {
		fmt.Println(r.ID, r.Direction, r.Protocol, r.Ports, r.Peer)
	}
	fmt.Println(workload.Single(rules).Size())
	// Output:
	// r-000000 ingress tcp 25 3ac1:3ab6:dcc0:edcb:5079:e9ca:9880:0/108
	// r-000001 ingress tcp 47895 210.221.176.0/24
	// r-000002 ingress tcp 123 11.128.0.0/9
	// r-000003 ingress tcp 32134-32142 3c40:774f:987d:62f5:ea2b:3655:751e:0/111
	// {1 0 1}
}
