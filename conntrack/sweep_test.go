package conntrack

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestFirstDue compares the steps of eight with one by one.
func TestFirstDue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := rapid.Uint32().Draw(rt, "now")
		later := rapid.OneOf(rapid.SampledFrom([]uint32{1, 2, maxTicks, 1<<31 - 1, 1 << 31}), rapid.Uint32Range(1, 1<<31))
		d := rapid.SliceOfN(rapid.Map(later, func(o uint32) uint32 { return now + o }), 0, 40).Draw(rt, "deadlines")
		for range rapid.IntRange(0, 2).Draw(rt, "due") {
			if len(d) != 0 {
				d[rapid.IntRange(0, len(d)-1).Draw(rt, "at")] = now - rapid.SampledFrom([]uint32{0, 1, 1000, 1<<31 - 1}).Draw(rt, "ago")
			}
		}
		want := slices.IndexFunc(d, func(at uint32) bool { return due(now, at) })
		if want < 0 {
			want = len(d)
		}
		if got := firstDue(now, d); got != want {
			rt.Fatalf("%d, want %d", got, want)
		}
	})
}
