package enforce_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// segment is a TCP segment with SYN from 192.0.2.7:4000 to a port of 10.0.0.5,
// as a TUN device delivers it.
func segment(port uint16) []byte {
	return []byte{
		0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 7, 10, 0, 0, 5, // IPv4
		4000 >> 8, 4000 & 0xff, byte(port >> 8), byte(port), 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0, // TCP
	}
}

// webPolicy lets anybody in at one port of interface web-1.
func webPolicy(port uint16) policy.Change {
	return policy.PutGroup{Group: &sg.Group{ID: "sg-web", Name: "web", Rules: []sg.Rule{{
		ID: "open", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(port), Peer: sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0")),
	}}}}
}

func webInterface() policy.Change {
	return policy.PutInterface{Interface: &sg.Interface{ID: "web-1", Groups: []sg.GroupID{"sg-web"}}}
}

// The smallest firewall: one group, one interface, one packet.
func Example() {
	snapshot, err := policy.Build(strict.Profile(), webPolicy(443), webInterface())
	if err != nil {
		fmt.Println(err)
		return
	}
	matcher, err := compile.Compile(snapshot)
	if err != nil {
		fmt.Println(err)
		return
	}
	engine := enforce.NewEngine(enforce.Options{})
	if err := engine.Apply(context.Background(), matcher); err != nil {
		fmt.Println(err)
		return
	}

	port := engine.Port("web-1")
	for _, packet := range [][]byte{segment(443), segment(443), segment(22)} {
		verdict := port.Filter(sg.Ingress, packet)
		rule, _ := engine.Rule(verdict.Rule)
		fmt.Println(verdict.Action, verdict.Reason, rule)
	}
	// Output:
	// accept rule sg-web/open
	// accept established sg-web/open
	// drop no_rule
}

// Every flow that opens or closes, and every packet refused, is an event.
func ExampleOptions_OnEvent() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	engine := enforce.NewEngine(enforce.Options{OnEvent: func(e *enforce.Event) { log.Info("flow", "", e) }})
	snapshot, _ := policy.Build(strict.Profile(), webPolicy(443), webInterface())
	matcher, _ := compile.Compile(snapshot)
	_ = engine.Apply(context.Background(), matcher)

	port := engine.Port("web-1")
	port.Filter(sg.Ingress, segment(443))
	port.Filter(sg.Ingress, segment(22))
	// Output:
	// msg=flow kind=opened interface=web-1 direction=ingress flow="tcp 192.0.2.7:4000 > 10.0.0.5:443" action=accept reason=rule rule=sg-web/open packets=1 bytes=40
	// msg=flow kind=denied interface=web-1 direction=ingress flow="tcp 192.0.2.7:4000 > 10.0.0.5:22" action=drop reason=no_rule packets=1 bytes=40
}

// A policy is swapped under traffic, as a whole. What it still allows goes on.
func ExampleEngine_Apply() {
	var compiler compile.Compiler
	snapshot, _ := policy.Build(strict.Profile(), webPolicy(443), webInterface())
	matcher, _ := compiler.Reset(snapshot)
	engine := enforce.NewEngine(enforce.Options{})
	_ = engine.Apply(context.Background(), matcher)
	port := engine.Port("web-1")
	fmt.Println(port.Filter(sg.Ingress, segment(443)).Reason)

	// The rule goes: the connection that it allowed is judged again.
	matcher, _ = compiler.Apply(policy.Batch{Changes: []policy.Change{webPolicy(8443)}})
	_ = engine.Apply(context.Background(), matcher)
	fmt.Println(port.Filter(sg.Ingress, segment(443)).Reason)
	fmt.Println(port.Filter(sg.Ingress, segment(8443)).Reason)
	for rule, c := range engine.Counters() {
		fmt.Println(rule, c.Flows, "flow", c.Packets, "packet")
		break
	}
	// Output:
	// rule
	// no_rule
	// rule
	// sg-web/open 2 flow 2 packet
}

// A batch is judged by one policy and reads the clock once.
func ExamplePort_FilterBatch() {
	engine := enforce.NewEngine(enforce.Options{})
	snapshot, _ := policy.Build(strict.Profile(), webPolicy(443), webInterface())
	matcher, _ := compile.Compile(snapshot)
	_ = engine.Apply(context.Background(), matcher)

	packets := [][]byte{segment(443), segment(22), segment(443)}
	verdicts := make([]ir.Verdict, len(packets))
	n := engine.Port("web-1").FilterBatch(sg.Ingress, packets, verdicts)
	fmt.Println(n, "of", len(packets))
	for _, v := range verdicts {
		fmt.Println(v.Action, v.Reason)
	}
	// Output:
	// 2 of 3
	// accept rule
	// drop no_rule
	// accept established
}
