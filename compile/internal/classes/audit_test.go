package classes

import (
	"maps"
	"slices"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/ir"
)

// auditStore checks that a store is sorted, in chunks that are neither empty nor
// too large, nor, on average, small.
func auditStore(t require.TestingT, s *store) {
	n := 0
	var before *entry
	for i := range s.chunks {
		require.NotEmpty(t, s.chunks[i])
		require.LessOrEqual(t, len(s.chunks[i]), chunkMax)
		for k := range s.chunks[i] {
			e := &s.chunks[i][k]
			require.NotZero(t, e.own, "a prefix of nobody")
			if before != nil {
				require.Negative(t, before.compare(e.prefix))
			}
			before = e
			n++
		}
	}
	require.Equal(t, n, s.n)
	require.LessOrEqual(t, len(s.chunks), n/(chunkMax/8)+2)
}

// auditRegistry checks that what a registry keeps in several ways is the same in
// all of them, after Flush. It returns the sets in use.
func auditRegistry(t require.TestingT, r *Registry, spaces ...*Space) map[Class][]ir.SelectorNum {
	uses := map[Class]int32{}
	for _, s := range spaces {
		for _, chunk := range s.store.chunks {
			for _, e := range chunk {
				for _, c := range []Class{e.own, e.full} {
					if c != 0 && c&Single == 0 {
						uses[c]++
					}
				}
			}
		}
		for m, n := range s.again {
			require.Positive(t, n, "%v", m)
		}
	}
	live, with := map[Class][]ir.SelectorNum{}, map[ir.SelectorNum]int{}
	for i := range r.uses {
		c := Class(i)
		require.Equal(t, uses[c], r.uses[c], "uses of %d", c)
		set := r.sets.At(c)
		require.Equal(t, uses[c] > 0, set != nil, "set of %d", c)
		if set == nil {
			if c != 0 {
				require.Contains(t, r.free, c)
			}
			continue
		}
		live[c] = slices.Clone(set)
		require.Greater(t, len(set), 1)
		for k, s := range set {
			require.True(t, k == 0 || set[k-1] < s)
			require.Contains(t, r.With(s), c)
			with[s]++
		}
		found, ok := r.known.find(set, &r.sets)
		require.True(t, ok)
		require.Equal(t, c, found)
		if a, b := r.Parts(c); a != 0 {
			both := slices.Concat(r.Set(a), r.Set(b))
			slices.Sort(both)
			require.Equal(t, set, slices.Compact(both), "parts of %d", c)
		}
	}
	require.Equal(t, len(live), r.known.Len())
	require.Equal(t, max(len(r.uses)-1, 0), len(live)+len(r.free))
	for s, n := range with {
		require.Len(t, r.With(s), n)
	}
	require.Len(t, r.with, len(with))
	return live
}

// checkFlush checks what Flush said of a change between two audits.
func checkFlush(t require.TestingT, was, is map[Class][]ir.SelectorNum, made []Class, dropped []Dropped) {
	got := map[Class][]ir.SelectorNum{}
	maps.Copy(got, was)
	for _, d := range dropped {
		if set, had := was[d.Class]; had {
			require.Equal(t, set, d.Set)
		}
		delete(got, d.Class)
	}
	for _, c := range made {
		require.NotContains(t, got, c, "made twice")
		got[c] = is[c]
	}
	require.Equal(t, is, got)
}
