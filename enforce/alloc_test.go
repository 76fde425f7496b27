//go:build !race

package enforce_test

import (
	"encoding/binary"
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

// TestHoldNoAllocations: keeping a fragment, releasing it and verifying checksums
// allocate nothing.
func TestHoldNoAllocations(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		e := enforce.NewEngine(enforce.Options{Checksums: enforce.ChecksumsAll, Conntrack: conntrack.Options{MaxEntries: 64, MaxFragments: 4096}})
		require.NoError(t, e.Apply(t.Context(), matcher(t, profile(sg.Revalidate), group("web", both("dns", sg.Ingress, sg.UDP, 53)), nic("i", "web"))))
		p := e.Port("i")
		p.Hold(enforce.HoldOptions{Fragments: 4})
		pieces := cut(udp(at(f.peer, "4000"), at(f.local, "53"), 1200), 800, 1)
		buf := make([]byte, 2000)
		id := uint16(0)
		require.Zero(t, testing.AllocsPerRun(500, func() {
			id++
			for _, b := range pieces { // another datagram
				if f.name == "ipv4" {
					binary.BigEndian.PutUint16(b[4:], id)
					b[10], b[11] = 0, 0
					s := uint32(0)
					for i := 0; i < 20; i += 2 {
						s += uint32(binary.BigEndian.Uint16(b[i:]))
					}
					s = s>>16 + s&0xffff
					binary.BigEndian.PutUint16(b[10:], ^uint16(s>>16+s))
				} else {
					binary.BigEndian.PutUint16(b[46:], id)
				}
			}
			if v := p.Filter(sg.Ingress, pieces[1]); v.Reason != ir.ReasonFragmentHeld {
				t.Fatal(v)
			}
			if v := p.Filter(sg.Ingress, pieces[0]); v.Action != sg.Accept {
				t.Fatal(v)
			}
			if n, v := p.Release(sg.Ingress, buf); n != len(pieces[1]) || v.Action != sg.Accept {
				t.Fatal(n, v)
			}
		}))
	})
}
