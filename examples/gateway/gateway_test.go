package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"-policy", "x", "more"}, {"-nonsense"}, {"-policy", "x"}, {"-demo", "-reject"}} {
		var usage *usageError
		require.True(t, errors.As(run(t.Context(), args, &strings.Builder{}, &strings.Builder{}), &usage), args)
	}
	require.ErrorIs(t, run(t.Context(), []string{"-policy", "testdata/none.json", "-a", "tun0=web-1"}, &strings.Builder{}, &strings.Builder{}), os.ErrNotExist)
}

func TestDemo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	var out strings.Builder
	err := run(context.Background(), []string{"-demo"}, &out, &out)
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("no network namespaces or TUN interfaces here: %v", err)
	}
	require.NoError(t, err, out.String())
	for _, want := range []string{
		"connect to 10.0.0.5 port 443: answered",
		"rule sg-web/https",
		"connect to 10.0.0.5 port 8080: connect: connection refused",
		"connect to 192.0.2.7 port 443: answered",
		"connect to 192.0.2.7 port 25: connect: connection refused",
		"Gbit/s there and back",
	} {
		require.Contains(t, out.String(), want)
	}
	require.Regexp(t, "the connection that was open: (i/o timeout|.*connection reset by peer)", out.String())
}
