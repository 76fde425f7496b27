package compile_test

import (
	"fmt"
	"net/netip"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// webPolicy is two interfaces: one serves HTTPS to everybody, the other a
// database to the first.
func webPolicy() *policy.Snapshot {
	anywhere := sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0"))
	web := &sg.Group{ID: "sg-web", Name: "web", Rules: []sg.Rule{
		{ID: "https", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: anywhere},
	}}
	db := &sg.Group{ID: "sg-db", Name: "db", Rules: []sg.Rule{
		{ID: "sql", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(5432), Peer: sg.PeerGroup("sg-web")},
	}}
	host := func(id sg.InterfaceID, addr string, g sg.GroupID) policy.PutInterface {
		return policy.PutInterface{Interface: &sg.Interface{ID: id, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}, Groups: []sg.GroupID{g}}}
	}
	s, err := policy.Build(strict.Profile(), policy.PutGroup{Group: web}, policy.PutGroup{Group: db},
		host("web-1", "10.0.0.5/32", "sg-web"), host("db-1", "10.0.0.9/32", "sg-db"))
	if err != nil {
		panic(err)
	}
	return s
}

func ExampleCompile() {
	m, err := compile.Compile(webPolicy())
	if err != nil {
		fmt.Println(err)
		return
	}
	db, _ := m.Interface("db-1") // resolve once, not per packet
	for _, from := range []string{"10.0.0.5", "192.0.2.7"} {
		v := m.Match(db.Index, sg.Ingress, ir.Flow{Remote: netip.MustParseAddr(from), Protocol: uint8(sg.TCP), Port: 5432})
		rule, _ := m.Program().Rule(v.Rule)
		fmt.Println(from, v.Action, v.Reason, rule.Ref)
	}
	// Output:
	// 10.0.0.5 accept rule sg-db/sql
	// 192.0.2.7 drop no_rule
}

func ExampleCompiler() {
	var c compile.Compiler
	before, err := c.Reset(webPolicy())
	if err != nil {
		fmt.Println(err)
		return
	}
	// A second web server appears. Only the change is compiled.
	after, err := c.Apply(policy.Batch{Changes: []policy.Change{policy.PutInterface{Interface: &sg.Interface{
		ID: "web-2", Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.6/32")}, Groups: []sg.GroupID{"sg-web"},
	}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	f := ir.Flow{Remote: netip.MustParseAddr("10.0.0.6"), Protocol: uint8(sg.TCP), Port: 5432}
	db, _ := after.Interface("db-1")
	fmt.Println("before:", before.Match(db.Index, sg.Ingress, f).Action)
	fmt.Println("after: ", after.Match(db.Index, sg.Ingress, f).Action)
	fmt.Println("connections to be judged again:", before.Program().Epoch() != after.Program().Epoch())
	// Output:
	// before: drop
	// after:  accept
	// connections to be judged again: false
}

func ExampleMatcher_Explain() {
	m, _ := compile.Compile(webPolicy())
	e := m.Explain("db-1", sg.Ingress, ir.Flow{Remote: netip.MustParseAddr("192.0.2.7"), Protocol: uint8(sg.TCP), Port: 5432})
	for line := range e.All() {
		fmt.Println(line)
	}
	// Output:
	// drop (no_rule): no rule for tcp 5432 from 192.0.2.7; nearest: sg-db/sql allows tcp 5432 from group sg-web (192.0.2.7 is not in its peer)
	// miss on peer: sg-db/sql allows tcp 5432 from group sg-web
}
