package aws_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
)

// What the form can say comes back whole, the order of rules aside; what was
// read is written the same every time.
func TestGroupsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := genGroups(t, true, 0)
		for _, g := range groups {
			for i := range g.Rules {
				g.Rules[i].ID = ""
			}
			sg.AssignIDs(g.Rules)
		}
		b, ws, err := aws.Encode(groups)
		require.NoError(t, err)
		require.Empty(t, ws)
		back, ws, err := aws.Decode(b)
		require.NoError(t, err, "%s", b)
		require.Empty(t, ws, "%s", b)
		require.Equal(t, sorted(groups), sorted(back), "%s", b)
		again, _, err := aws.Encode(back)
		require.NoError(t, err)
		require.Equal(t, string(b), string(again))
	})
}

func TestRulesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := genGroups(t, true, 1)
		for _, g := range groups {
			g.Name, g.Description, g.VPC, g.Default = string(g.ID), "", "", false
		}
		b, ws, err := aws.EncodeRules(groups)
		require.NoError(t, err)
		require.Empty(t, ws)
		back, ws, err := aws.DecodeRules(b)
		require.NoError(t, err, "%s", b)
		require.Empty(t, ws, "%s", b)
		require.Equal(t, sorted(groups), sorted(back), "%s", b)
		again, _, err := aws.EncodeRules(back)
		require.NoError(t, err)
		require.Equal(t, string(b), string(again))
		detected, _, err := aws.Decode(b)
		require.NoError(t, err)
		require.Equal(t, back, detected)
	})
}

// Any valid group is refused as unsupported or keeps its meaning.
func TestArbitraryGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := genGroups(t, false, 1)
		for _, form := range []struct {
			encode func([]*sg.Group) ([]byte, []sg.Warning, error)
			decode func([]byte) ([]*sg.Group, []sg.Warning, error)
		}{{aws.Encode, aws.Decode}, {aws.EncodeRules, aws.DecodeRules}} {
			b, _, err := form.encode(groups)
			if err != nil {
				var all sg.Errors
				require.ErrorAs(t, err, &all)
				for _, f := range all {
					require.ErrorIs(t, f, sg.ErrUnsupported)
				}
				continue
			}
			back, _, err := form.decode(b)
			require.NoError(t, err, "%s", b)
			require.Equal(t, keys(groups), keys(back))
		}
	})
}

// The order of rules does not show in the groups form.
func TestOrderDoesNotShow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := genGroups(t, true, 0)
		b, _, err := aws.Encode(groups)
		require.NoError(t, err)
		for _, g := range groups {
			g.Rules = rapid.Permutation(g.Rules).Draw(t, "order")
		}
		again, _, err := aws.Encode(groups)
		require.NoError(t, err)
		require.Equal(t, string(b), string(again))
	})
}
