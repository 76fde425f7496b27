package nftables

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
)

func TestRenderGolden(t *testing.T) {
	got := render(t, shopProgram(t), Options{Uplinks: map[string]sg.VPCID{"up0": "vpc-a"}, Protect: []string{"tap*"}, Reject: true})
	const file = "testdata/shop.nft"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
