package nftables

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
)

func TestNoProgram(t *testing.T) {
	require.ErrorIs(t, Render(io.Discard, nil, Options{}), sg.ErrRequired)
}

func TestDriftSummary(t *testing.T) {
	d := difference{gone: []string{"set a"}, changed: []string{"chain b", "chain c"}}
	require.Equal(t, "set a is gone; chain b was changed; chain c was changed", d.summary())
	for range 6 {
		d.added = append(d.added, "chain x")
	}
	require.Contains(t, d.summary(), "; chain x was added")
	d.added = append(d.added, "chain y", "chain z")
	require.Regexp(t, "^set a is gone; .*; chain x was added; and 3 more$", d.summary())
}
