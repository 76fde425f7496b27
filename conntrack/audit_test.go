package conntrack

import (
	"github.com/stretchr/testify/require"
)

// audit compares everything that a table at rest keeps twice: entries, index,
// local ends, free slots, deadlines, high counters and gauges.
func audit(t require.TestingT, tb *Table) {
	keys, zones, class, live := map[key]bool{}, map[Zone]int{}, [classes]int64{}, 0
	inPurses, open := int64(0), int32(0)
	for i := range tb.shards {
		s := &tb.shards[i]
		require.Zero(t, s.index.moves.Load()%2, "a key moves")
		away, inShard := map[uint32]int{}, 0
		refs := map[uint32]uint32{}
		for kind := range uint32(2) {
			b := &s.slabs[kind]
			free := map[uint32]bool{}
			for _, slot := range b.free.next(make([]uint32, b.used+1)) {
				id := slot<<1 | kind
				require.False(t, free[id], "free twice")
				free[id] = true
			}
			for slot := uint32(1); slot <= b.used; slot++ {
				id := slot<<1 | kind
				e := s.at(id)
				require.Zero(t, e.word&wordLocked, "locked")
				require.NotEqual(t, e.live(), free[id], "slot %d", id)
				if !e.live() {
					continue
				}
				inShard++
				k := e.key(s.locals.at(e.local))
				require.False(t, keys[k], "two entries of one key")
				keys[k] = true
				counted := s.locals.at(e.local).counted()
				require.Equal(t, tb.zones.counted(k.zone), counted, "zone %d", k.zone)
				if counted {
					zones[k.zone]++
				}
				class[classOf(k.proto)]++
				refs[e.local&localMask]++
				_, spilled := s.spill.m[id]
				require.Equal(t, spilled, e.packets[Reply]&spilledBit != 0, "high counters")
				require.LessOrEqual(t, int32(s.deadline(id)-s.expiry(e, id)), int32(0), "Sweep comes too late")
				h := tb.secret.hash(&k)
				require.Same(t, s, tb.shard(h))
				at, found, w := s.search(&k, h)
				require.Same(t, e, at)
				require.Equal(t, id, found)
				e.unlock(w)
				if home := s.index.home(h); s.index.buckets[home].slot(tagOf(h), id) == bucketSlots {
					away[home]++
				}
			}
		}
		tags := 0
		for n := range s.index.buckets {
			b := &s.index.buckets[n]
			require.Equal(t, uint64(away[uint32(n)]), b[2]>>32, "away of bucket %d", n)
			for j := range bucketSlots {
				if b.tag(j) != 0 {
					tags++
				}
			}
		}
		require.Equal(t, inShard, tags)
		for n := uint32(1); n <= s.locals.used; n++ {
			require.Equal(t, refs[n], s.locals.at(n).refs, "local end %d", n)
		}
		for id := range s.spill.m {
			require.True(t, s.at(id).live(), "high counters of a free slot")
		}
		live += inShard
		require.Equal(t, inShard, s.live())
		for c, n := range s.purse.places {
			require.True(t, s.purse.open>>c&1 != 0 || n == 0)
			class[c] += int64(n)
			inPurses += int64(n)
		}
		if s.purse.open != 0 {
			open++
		}
	}
	require.Equal(t, live, tb.Len())
	require.Equal(t, open, tb.purses.Load())
	require.Equal(t, int64(live)+inPurses, tb.count.n.Load())
	for c := range class {
		require.Equal(t, class[c], tb.class[c].n.Load(), Class(c))
	}
	sum := 0
	for _, n := range zones {
		sum -= n
	}
	for i := range tb.zones.stripes {
		for _, c := range tb.zones.stripes[i].counts.slots {
			if c.n != 0 {
				require.Equal(t, zones[c.zone], int(c.n), "zone %d", c.zone)
				sum += int(c.n)
			}
		}
	}
	require.Zero(t, sum)
}
