package openstack_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/openstack"
)

// What the form can say comes back whole, rule order included; what was read
// is written the same every time.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := genGroups(t, true, 0)
		b, ws, err := openstack.Encode(groups)
		require.NoError(t, err)
		require.Empty(t, ws)
		back, ws, err := openstack.Decode(b)
		require.NoError(t, err, "%s", b)
		require.Empty(t, ws, "%s", b)
		require.Equal(t, append([]*sg.Group{}, groups...), back, "%s", b)
		again, _, err := openstack.Encode(back)
		require.NoError(t, err)
		require.Equal(t, string(b), string(again))
	})
}

// Any valid group is refused as unsupported or keeps its meaning.
func TestArbitraryGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := genGroups(t, false, 0)
		b, _, err := openstack.Encode(groups)
		if err != nil {
			var all sg.Errors
			require.ErrorAs(t, err, &all)
			for _, f := range all {
				require.ErrorIs(t, f, sg.ErrUnsupported)
			}
			return
		}
		back, _, err := openstack.Decode(b)
		require.NoError(t, err, "%s", b)
		require.Equal(t, keys(groups), keys(back))
		for i, g := range groups {
			require.Equal(t, g.Stateless, back[i].Stateless)
			require.Equal(t, g.Scope, back[i].Scope)
		}
	})
}
