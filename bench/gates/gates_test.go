package main

import (
	"bytes"
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack/packet"
)

// TestGates runs every gate that asserts no time, at a small scale.
func TestGates(t *testing.T) {
	for _, name := range []string{"malformed", "swap", "churn"} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			o := options{scale: 0.002, seed: 1, progress: io.Discard}
			list, err := choose(name, o, nil)
			require.NoError(t, err)
			require.NoError(t, run(t.Context(), &out, o, list), out.String())
			require.Contains(t, out.String(), name+" ")
			t.Log(out.String())
		})
	}
}

// TestChoose: a wrong command line runs nothing, and is told.
func TestChoose(t *testing.T) {
	all, err := choose("", options{scale: 1}, nil)
	require.NoError(t, err)
	require.Len(t, all, len(names()))
	two, err := choose("worst,swap", options{scale: 1}, nil)
	require.NoError(t, err)
	require.Len(t, two, 2)
	require.Equal(t, "worst", two[0].name)
	for _, c := range []struct {
		only string
		o    options
		args []string
		want string
	}{
		{"none", options{scale: 1}, nil, `no gate "none"; there are malformed, swap, churn, worst`},
		{"swap,", options{scale: 1}, nil, `no gate ""`},
		{"", options{scale: 1}, []string{"swap"}, `unexpected argument "swap"`},
		{"", options{}, nil, "-scale 0"},
		{"", options{scale: math.NaN()}, nil, "-scale NaN"},
		{"", options{scale: 1, long: -time.Second}, nil, "-for -1s"},
	} {
		_, err := choose(c.only, c.o, c.args)
		require.ErrorContains(t, err, c.want)
	}
}

func TestStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.ErrorIs(t, run(ctx, io.Discard, options{scale: 1, progress: io.Discard}, gates()[:1]), context.Canceled)
}

// TestCorpus: what is mutated is right before; fragments and headers that stand
// in the wrong place are not.
func TestCorpus(t *testing.T) {
	list := corpus(rand.New(rand.NewPCG(1, 1)), netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5"))
	right := 0
	for _, b := range list {
		var p packet.Packet
		if packet.Decode(b, &p) == nil {
			right++
			require.Len(t, b, int(p.Length))
		}
	}
	require.Greater(t, right, len(list)*2/3)
}

// TestMutate: mutations differ, fit their buffer and are not longer than they
// say.
func TestMutate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	list := corpus(r, netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5"))
	buf, changed := make([]byte, 0, 2048), 0
	for range 10_000 {
		b := list[r.IntN(len(list))]
		m := mutate(r, buf, b)
		require.Equal(t, len(m), cap(m))
		if !bytes.Equal(m, b) {
			changed++
		}
	}
	require.Greater(t, changed, 9_000)
}
