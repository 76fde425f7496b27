package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUsage(t *testing.T) {
	all, err := usage(1, time.Second, "", "", nil)
	require.NoError(t, err)
	require.Equal(t, variants(), all)
	one, err := usage(1, time.Second, "", baseline, nil)
	require.NoError(t, err)
	require.Equal(t, baseline, one[0].name)
	for _, c := range []struct {
		rounds      int
		d           time.Duration
		only, child string
		args        []string
		want        string
	}{
		{1, time.Second, "", "", []string{"filter"}, `unexpected argument "filter"`},
		{1, time.Second, "none", "", nil, `no gateway "none": there are `},
		{1, time.Second, "", "none", nil, `no gateway "none": there are `},
		{0, time.Second, "", "", nil, "at least one round"},
		{1, 0, "", "", nil, "longer than nothing"},
	} {
		_, err := usage(c.rounds, c.d, c.only, c.child, c.args)
		require.ErrorContains(t, err, c.want)
	}
}
