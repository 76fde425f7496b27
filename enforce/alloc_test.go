//go:build !race

package enforce_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// Under the race detector sync.Pool forgets at random, hence the build tag.
func TestNoAllocations(t *testing.T) {
	for _, events := range []bool{false, true} {
		name := map[bool]string{false: "silent", true: "events"}[events]
		t.Run(name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				var now time.Time
				var seen enforce.Event
				o := enforce.Options{Conntrack: conntrack.Options{MaxEntries: 1024, MaxPerZone: 512, Shards: 1}, Now: func() time.Time { return now }}
				if events {
					o.OnEvent = func(e *enforce.Event) { seen = *e }
				}
				e := enforce.NewEngine(o)
				n := nic("i", "web", "less")
				n.Interface.SourceGuard = true
				m := matcher(t, profile(sg.Revalidate), web(), stateless(group("less", both("s", sg.Ingress, sg.TCP, 80))), n)
				require.NoError(t, e.Apply(t.Context(), m))
				p := e.Port("i")
				client := at(f.peer, "4000")
				first, rest := split(udp(client, at(f.local, "53"), 64), 40, 9)
				syn := tcp(client, at(f.local, "443"), "S")
				for _, c := range []struct {
					name string
					d    sg.Direction
					b    []byte
					want ir.Reason
				}{
					{"new", sg.Ingress, syn, ir.ReasonRule},
					{"established", sg.Egress, tcp(at(f.local, "443"), client, "SA"), ir.ReasonEstablished},
					{"related", sg.Ingress, unreachable(f.peer, f.local, tcp(at(f.local, "443"), client, "SA")), ir.ReasonRelated},
					{"stateless", sg.Ingress, tcp(client, at(f.local, "80"), "A"), ir.ReasonRule},
					{"denied", sg.Ingress, tcp(client, at(f.local, "22"), "S"), ir.ReasonNoRule},
					{"invalid", sg.Ingress, tcp(client, at(f.local, "443"), "SF"), ir.ReasonInvalidState},
					{"malformed", sg.Ingress, syn[:len(syn)-1], ir.ReasonMalformed},
					{"spoofed", sg.Egress, syn, ir.ReasonSpoofed},
					{"first fragment", sg.Ingress, first, ir.ReasonRule},
					{"trailing fragment", sg.Ingress, rest, ir.ReasonFragment},
					{"lone fragment", sg.Egress, rest, ir.ReasonSpoofed},
				} {
					out := make([]ir.Verdict, 4)
					pkts := [][]byte{c.b, c.b, c.b, c.b}
					opens := c.want == ir.ReasonRule && c.name != "stateless"
					filter := func() {
						if opens { // as if for the first time
							now = now.Add(10 * time.Minute)
						}
						if v := p.Filter(c.d, c.b); v.Reason != c.want {
							t.Fatalf("%s: %v", c.name, v)
						}
					}
					require.Zero(t, testing.AllocsPerRun(200, filter), "%s: Filter", c.name)
					require.Zero(t, testing.AllocsPerRun(200, func() {
						if opens {
							now = now.Add(10 * time.Minute)
						}
						p.FilterBatch(c.d, pkts, out)
					}), "%s: FilterBatch", c.name)
					require.Equal(t, c.want == ir.ReasonRule || c.want == ir.ReasonEstablished || c.want == ir.ReasonRelated || c.name == "trailing fragment", out[3].Action == sg.Accept, c.name)
				}
				require.Equal(t, events, seen.Kind != 0)
				none := e.Port("nobody")
				require.Zero(t, testing.AllocsPerRun(200, func() { none.Filter(sg.Ingress, syn) }))
			})
		})
	}
}
