package enforce_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// TestHostilePolicies plays the cases of the threat catalogue in which the policy is
// replaced half-way, under every setting of established connections. All cases are
// played by TestHostile.
func TestHostilePolicies(t *testing.T) {
	for _, established := range []sg.Established{sg.Revalidate, sg.Keep, sg.Cut} {
		t.Run("TCP-23/"+established.String(), func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				b := newBench(t, enforce.Options{}, profile(established), group("web", https("a")), nic("i", "web"))
				client, service := b.handshake(f, "443")
				require.Contains(t, b.in(tcp(client, service, "FA")), "accept")
				require.Contains(t, b.out(tcp(service, client, "FA")), "accept")
				require.Contains(t, b.in(tcp(client, service, "A")), "accept")
				b.change(group("web"))
				require.Equal(t, "drop empty_direction", b.in(tcp(client, service, "S")))
			})
		})
		t.Run("TCP-25/"+established.String(), func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				b := newBench(t, enforce.Options{}, profile(established), group("web", https("a")), nic("i", "web"))
				client, service := b.handshake(f, "443")
				b.change(group("web"))
				require.Equal(t, "drop empty_direction", b.in(tcp(client, service, "S")))
				for _, v := range []string{b.out(tcp(service, client, "SA")), b.in(tcp(client, service, "A")), b.out(tcp(service, client, "PA"))} {
					// Under Keep the old connection goes on.
					require.Equal(t, established == sg.Keep, strings.HasPrefix(v, "accept established"), v)
				}
			})
		})
	}
}
