package enforce_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// TestManyCompilers: counters go on over any number of compilers, and what an
// engine keeps of them is bounded.
func TestManyCompilers(t *testing.T) {
	p := profile(sg.Revalidate)
	changes := func() []policy.Change {
		return []policy.Change{group("g", both("web", sg.Ingress, sg.TCP, 80)), nic("i", "g")}
	}
	b := newBench(t, enforce.Options{}, p, changes()...)
	for n := range 50 {
		b.apply(matcher(t, p, changes()...))
		require.Contains(t, b.in(tcp(fmt.Sprintf("192.0.2.7:%d", 40000+n), "10.0.0.5:80", "S")), "accept")
	}
	var flows uint64
	for _, c := range b.Counters() {
		flows += c.Flows
	}
	require.EqualValues(t, 50, flows)
}
