package nftables_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/netip"
	"strings"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce/nftables"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// shop is a policy with one interface that serves HTTPS.
func shop() *compile.Matcher {
	s, err := policy.Build(stackit.Profile(),
		policy.PutGroup{Group: &sg.Group{ID: "web", Name: "web", VPC: "vpc-a", Rules: []sg.Rule{
			{ID: "https", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerCIDR(netip.MustParsePrefix("192.0.2.0/24"))},
		}}},
		policy.PutInterface{Interface: &sg.Interface{ID: "if-1", VPC: "vpc-a", Groups: []sg.GroupID{"web"}, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32")}}},
	)
	if err != nil {
		log.Fatal(err)
	}
	m, err := compile.Compile(s)
	if err != nil {
		log.Fatal(err)
	}
	return m
}

// options say that interface if-1 is the device tap1 here.
func options() nftables.Options {
	return nftables.Options{
		Device:  func(id sg.InterfaceID) (string, bool) { return "tap1", id == "if-1" },
		Protect: []string{"tap*"},
	}
}

// Render needs neither privileges nor nft: the ruleset can be read, reviewed
// and kept. Here is where it leads packets, and what becomes of HTTPS.
func ExampleRender() {
	var ruleset bytes.Buffer
	if err := nftables.Render(&ruleset, shop().Program(), options()); err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(ruleset.String()) {
		if strings.Contains(line, "tap") || strings.Contains(line, "dport 443") {
			fmt.Println(strings.TrimSpace(line))
		}
	}
	// Output:
	// elements = { "tap1" : goto vpc0 }
	// elements = { "tap1" : goto vpc0 }
	// elements = { "tap1" : goto p1_from }
	// elements = { "tap1" : goto p1_to }
	// elements = { "tap1" : goto p1_to_local }
	// elements = { "tap1" . 10.0.0.5 }
	// iifname "tap*" goto discard
	// oifname "tap*" goto discard
	// oifname "tap*" goto discard
	// tcp dport 443 ip saddr 192.0.2.0/24 goto rule1_ingress comment "web/https"
}

// A host makes the table before its interfaces have access to the network,
// applies every policy that it gets, and lets the Backend look after the table
// meanwhile. The policy stays in force when the program ends.
func ExampleBackend() {
	o := options()
	o.Logger = slog.Default()
	b, err := nftables.New(o)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := b.Prepare(ctx); err != nil {
		log.Fatal(err)
	}
	go b.Run(ctx) // repairs what others do to the table

	if err := b.Check(ctx, shop()); err != nil {
		log.Fatal(err) // what can not be expressed, or what the kernel lacks
	}
	if err := b.Apply(ctx, shop()); err != nil {
		log.Fatal(err) // the policy of before is in force
	}
	rules, err := b.Counters(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for rule, n := range rules {
		fmt.Println(rule, n.Packets, n.Bytes)
	}
}
