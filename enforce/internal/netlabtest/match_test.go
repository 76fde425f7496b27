//go:build linux

package netlabtest

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMatch(t *testing.T) {
	change := func(p []byte, at int) []byte {
		p = bytes.Clone(p)
		p[at] ^= 0x55
		return p
	}
	v4 := udp(t, "10.0.0.5:1", "10.0.0.6:2", []byte("abc"))
	v6 := udp(t, "[fd00::5]:1", "[fd00::6]:2", []byte("abc"))
	f6 := fragments(t, v6, 8)[0]
	for name, c := range map[string]struct {
		packet []byte
		free   []int // bytes that a router changes
	}{
		"v4": {v4, []int{8, 10, 11}},
		"v6": {v6, []int{7}},
		"f6": {f6, []int{7, 44, 45, 46, 47}},
	} {
		require.True(t, same(c.packet, c.packet))
		require.True(t, same(c.packet, append(bytes.Clone(c.packet), 0)), name)
		require.False(t, same(c.packet, c.packet[:len(c.packet)-1]), name)
		for at := range c.packet {
			free := bytes.Contains(bytesOf(c.free), []byte{byte(at)})
			require.Equal(t, free, same(change(c.packet, at), c.packet), "%s byte %d", name, at)
		}
	}
	require.False(t, isFragment(v4))
	require.False(t, isFragment(v6))
	require.True(t, isFragment(f6))
	for _, p := range fragments(t, v4, 8) {
		require.True(t, isFragment(p))
	}
	dontFragment := bytes.Clone(v4)
	dontFragment[6] = 0x40
	require.False(t, isFragment(dontFragment))
}

func bytesOf(ints []int) []byte {
	var out []byte
	for _, i := range ints {
		out = append(out, byte(i))
	}
	return out
}

// TestMatchAnything: no bytes are too strange, and all are the same as themselves.
func TestMatchAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "packet")
		if len(p) > 0 && rapid.Bool().Draw(t, "ip") {
			p[0] = rapid.SampledFrom([]byte{0x45, 0x60}).Draw(t, "version")
		}
		if len(p) > 6 && rapid.Bool().Draw(t, "chain") {
			p[6] = rapid.SampledFrom([]byte{hopByHop, routing, fragment, destination}).Draw(t, "next")
		}
		isFragment(p)
		require.True(t, same(p, bytes.Clone(p)))
	})
}
