package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChoose(t *testing.T) {
	all, err := choose("")
	require.NoError(t, err)
	require.Equal(t, variants(), all)
	for _, v := range all {
		got, err := choose(v.name)
		require.NoError(t, err)
		require.Equal(t, []variant{v}, got)
	}
	got, err := choose("plain," + baseline)
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, baseline, got[0].name, "in the order of the table")
	for _, names := range []string{"nonsense", "filter,nonsense", ",", "filter,", "Filter"} {
		_, err := choose(names)
		require.ErrorContains(t, err, ": there are filter, no-filter, plain, wireguard-go", names)
	}
}
