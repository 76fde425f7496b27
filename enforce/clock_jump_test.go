package enforce_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// TestClockJumpsByYears is RES-08 through the Engine, by a clock that jumps ten
// years in the middle, there or back: connections go on, none expires by it, and
// all do in their time.
func TestClockJumpsByYears(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{10 * year, -10 * year} {
		eachFamily(t, func(t *testing.T, f family) {
			b := newBench(t, enforce.Options{}, profile(sg.Revalidate), web(), nic("i", "web"))
			b.sleep(20 * year)
			client, service := b.handshake(f, "443")
			ask, answer := udp(at(f.peer, "1"), at(f.local, "53"), 0), udp(at(f.local, "53"), at(f.peer, "1"), 0)
			b.in(ask)
			b.out(answer)
			half := tcp(at(f.peer, "5"), at(f.local, "443"), "S")
			b.in(half)
			for range 3 {
				b.sleep(10 * time.Second)
				require.Zero(t, b.Sweep(1<<20))
				b.sleep(jump)
				require.Zero(t, b.Sweep(1<<20), "mass expiry")
				require.Contains(t, b.in(tcp(client, service, "A")), "accept established")
				b.sleep(-jump)
				require.Zero(t, b.Sweep(1<<20), "mass expiry")
				require.Contains(t, b.out(tcp(service, client, "A")), "accept established")
			}
			require.Equal(t, 3, b.Table().Len())
			b.sleep(jump)
			require.Contains(t, b.in(ask), "accept established")
			b.sleep(91 * time.Second)
			require.Equal(t, 1, b.Sweep(1<<20), "the half-open one, after 120 s in all")
			b.sleep(30 * time.Second)
			require.Equal(t, 1, b.Sweep(1<<20), "UDP, 120 s after its last packet")
			b.sleep(jump)
			require.Contains(t, b.in(tcp(client, service, "A")), "accept established")
			b.sleep(5*24*time.Hour + time.Second)
			require.Equal(t, 1, b.Sweep(1<<20))
		})
	}
}
