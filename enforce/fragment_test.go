package enforce_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// The first fragment of a datagram that contradicts itself, or that nobody could
// know again, leaves no trace in the connection that it would belong to (SEM-10,
// FRAG-05): it is dropped, and what is dropped moves nothing.
func TestRefusedFirstFragmentLeavesNoTrace(t *testing.T) {
	const asked, other = "4000", "4001"
	for _, c := range []struct {
		name   string
		limit  int // of the table's fragments
		before func(b *bench, f family, answer, stranger []byte)
	}{
		{"another first fragment of it was refused", 0, func(b *bench, f family, answer, stranger []byte) {
			require.Equal(b.t, "drop no_rule", b.in(cut(stranger, 800, 7)[0]))
		}},
		{"what is kept of it overlaps", 0, func(b *bench, f family, answer, stranger []byte) {
			b.Port("i").Hold(enforce.HoldOptions{Fragments: 4})
			require.Equal(b.t, kept, b.in(fragment(answer, 400, 1200, 7, true)))
		}},
		{"no room", 1, func(b *bench, f family, answer, stranger []byte) {
			require.Contains(b.t, b.in(cut(udp(at(f.peer, "9"), at(f.local, "53"), 1600), 800, 9)[0]), "accept rule")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				b := newBench(t, enforce.Options{Conntrack: conntrack.Options{MaxEntries: 64, MaxFragments: c.limit}}, profile(sg.Revalidate),
					group("web", both("ask", sg.Egress, sg.UDP, 53), both("dns", sg.Ingress, sg.UDP, 53)), nic("i", "web"))
				resolver := at(f.peer, "53")
				answer := udp(resolver, at(f.local, asked), 1600)
				require.Contains(t, b.out(udp(at(f.local, asked), resolver, 64)), "accept rule web/ask")
				c.before(b, f, answer, udp(resolver, at(f.local, other), 1600))
				was := b.entries()
				require.Equal(t, "drop fragment", b.in(cut(answer, 800, 7)[0]))
				require.Equal(t, was, b.entries())
				require.Equal(t, "drop fragment", b.in(cut(answer, 800, 7)[1]))
				require.Equal(t, was, b.entries())
			})
		})
	}
	t.Run("the rules allow it", func(t *testing.T) {
		eachFamily(t, func(t *testing.T, f family) {
			b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", both("dns", sg.Ingress, sg.UDP, 53)), nic("i", "web"))
			client := at(f.peer, "4000")
			require.Contains(t, b.in(udp(client, at(f.local, "53"), 64)), "accept rule web/dns")
			require.Equal(t, "drop no_rule", b.in(cut(udp(client, at(f.local, "54"), 1600), 800, 7)[0]))
			was, counted := b.entries(), b.counter("web/dns-"+f.name[len("ipv"):])
			require.Equal(t, "drop fragment", b.in(cut(udp(client, at(f.local, "53"), 1600), 800, 7)[0]))
			require.Equal(t, was, b.entries())
			require.Equal(t, counted, b.counter("web/dns-"+f.name[len("ipv"):]))
			require.EqualValues(t, 1, b.drop(ir.ReasonFragment))
		})
	})
}
