package enforce_test

import (
	"context"
	"fmt"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// webEngine enforces webPolicy(443).
func webEngine(o enforce.Options) *enforce.Engine {
	snapshot, err := policy.Build(strict.Profile(), webPolicy(443), webInterface())
	if err != nil {
		panic(err)
	}
	matcher, err := compile.Compile(snapshot)
	if err != nil {
		panic(err)
	}
	engine := enforce.NewEngine(o)
	if err := engine.Apply(context.Background(), matcher); err != nil {
		panic(err)
	}
	return engine
}

// Things that filters refuse whatever the rules say have reasons of their own,
// and a switch each.
func ExampleHygiene() {
	martian := segment(443)
	martian[12] = 127 // the source
	for _, hygiene := range []enforce.Hygiene{{}, {AllowMartians: true}} {
		engine := webEngine(enforce.Options{Hygiene: hygiene})
		verdict := engine.Port("web-1").Filter(sg.Ingress, martian)
		fmt.Println(verdict.Action, verdict.Reason)
	}
	// Output:
	// drop martian
	// accept rule
}

// A source that vouches for checksums has them verified: here one for which
// somebody still has to fill them in.
func ExamplePort_FilterWith() {
	port := webEngine(enforce.Options{}).Port("web-1")
	open := segment(443) // its checksums are zero
	fmt.Println(port.FilterWith(enforce.ChecksumsAll, sg.Ingress, open).Reason)
	fmt.Println(port.FilterWith(enforce.ChecksumsUnknown, sg.Ingress, open).Reason)
	// Output:
	// checksum
	// rule
}

// Fragments that overtake their first one are kept, and released behind it.
func ExamplePort_Hold() {
	port := webEngine(enforce.Options{}).Port("web-1")
	port.Hold(enforce.HoldOptions{Fragments: 64})

	first := append(segment(443), 1, 2, 3, 4)
	first[3], first[6] = 44, 0x20 // 44 bytes; more fragments
	rest := append(append([]byte(nil), first[:20]...), 5, 6, 7)
	rest[3], rest[6], rest[7] = 23, 0, 3 // 23 bytes; at byte 24

	buf := make([]byte, 1500)
	for _, b := range [][]byte{rest, first} {
		verdict := port.Filter(sg.Ingress, b)
		fmt.Println(verdict.Action, verdict.Reason)
		for {
			n, verdict := port.Release(sg.Ingress, buf)
			if n == 0 {
				break
			}
			fmt.Println("send on", n, "bytes:", verdict.Action, verdict.Reason)
		}
	}
	// Output:
	// drop fragment_held
	// accept rule
	// send on 23 bytes: accept fragment
}
