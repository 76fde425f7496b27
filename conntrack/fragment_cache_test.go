package conntrack

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/conntrack/packet"
)

// datagrams is the fragment cache as plain as can be.
type datagrams struct {
	max, perZone int
	m            map[datagramName]*judged
}

type datagramName struct {
	zone Zone
	id   uint32
}

// judged is a datagram whose first fragment is known. Its pieces are the first 64
// bytes, middle and last, or else long, which overlaps both of them.
type judged struct {
	port               uint16 // of the first fragment
	mark               Mark
	verdict            FragVerdict
	middle, last, long bool
	expires            Time
}

func (d *judged) idle(now Time) bool {
	return now >= d.expires || d.verdict == FragDrop || d.verdict == FragAccept && d.middle && d.last
}

// room says whether another datagram of a zone gets in.
func (c *datagrams) room(now Time, z Zone) bool {
	total, zone, mayGo, ofZone := 0, 0, false, false
	for name, d := range c.m {
		total++
		mayGo = mayGo || d.idle(now)
		if name.zone == z {
			zone++
			ofZone = ofZone || d.idle(now)
		}
	}
	return (total < c.max || mayGo) && (zone < c.perZone || ofZone)
}

// auditFragments compares what the cache keeps twice, and returns the datagrams
// that it has.
func auditFragments(t require.TestingT, f *fragments) map[datagramName]bool {
	live, chained, free, zones := map[datagramName]bool{}, map[uint32]bool{}, map[uint32]bool{}, map[Zone]uint32{}
	for bucket, id := range f.heads {
		for ; id != 0; id = f.slots[id-1].next {
			require.False(t, chained[id], "twice in the chains")
			chained[id] = true
			require.Equal(t, uint32(bucket), f.slots[id-1].bucket)
		}
	}
	for id := f.free; id != 0; id = f.slots[id-1].next {
		require.False(t, free[id], "free twice")
		free[id] = true
	}
	for id := uint32(1); id <= f.used; id++ {
		d := &f.slots[id-1]
		require.Equal(t, d.live, chained[id], "slot %d", id)
		require.NotEqual(t, d.live, free[id], "slot %d", id)
		if d.live {
			name := datagramName{d.zone, d.id}
			require.False(t, live[name], "two datagrams of one name")
			live[name] = true
			zones[d.zone]++
		}
	}
	require.Equal(t, len(zones), f.zones.used)
	for z, n := range zones {
		require.Equal(t, n, f.zones.slots[f.zones.find(z)].n, "zone %d", z)
	}
	return live
}

// TestFragmentCache compares the cache with a map, over many datagrams, limits,
// zones and time. Which of those that may go has to go is the cache's choice.
func TestFragmentCache(t *testing.T) {
	const life = 30 * second
	for range 10 {
		rapid.Check(t, func(rt *rapid.T) {
			c := &datagrams{
				max:     rapid.IntRange(1, 6).Draw(rt, "max"),
				perZone: rapid.IntRange(1, 4).Draw(rt, "per zone"), m: map[datagramName]*judged{},
			}
			tb := NewTable(Options{MaxEntries: 4, Shards: 1, MaxFragments: c.max, MaxFragmentsPerZone: c.perZone})
			c.perZone = min(c.perZone, c.max)
			now := Time(0)
			name := func(rt *rapid.T) datagramName {
				return datagramName{Zone(rapid.IntRange(1, 3).Draw(rt, "zone")), uint32(rapid.IntRange(1, 4).Draw(rt, "id"))}
			}
			// live returns a datagram that has not expired. A search removes one
			// that has.
			live := func(n datagramName) *judged {
				if d := c.m[n]; d != nil && now < d.expires {
					return d
				}
				delete(c.m, n)
				return nil
			}
			// settle takes out of the model what left the cache, which must have
			// been free to go, and is at most n.
			settle := func(rt *rapid.T, n int, may func(datagramName, *judged) bool) {
				got := auditFragments(rt, &tb.frags)
				for name, d := range c.m {
					if !got[name] {
						if n--; n < 0 || !may(name, d) {
							rt.Fatalf("%+v, %+v is gone", name, d)
						}
						delete(c.m, name)
					}
				}
				if len(got) != len(c.m) {
					rt.Fatalf("%v, want %v", got, c.m)
				}
			}
			first := func(rt *rapid.T) {
				n, port, accept := name(rt), uint16(rapid.IntRange(80, 81).Draw(rt, "port")), rapid.IntRange(0, 3).Draw(rt, "accept") != 0
				mark := Mark(rapid.IntRange(1, 9).Draw(rt, "mark"))
				p := piece(n.id, 0, 64, true)
				p.Tuple.DstPort = port
				d, want := live(n), FragAccept
				fresh := false
				switch {
				case d == nil && !c.room(now, n.zone):
					if want = FragDrop; accept {
						want = FragUnknown
					}
				case d == nil, d.port != port && d.verdict == FragAccept && d.middle && d.last:
					fresh = true
				case d.port != port:
					d.verdict = FragOverlap
					want = d.verdict
				default:
					if !accept && d.verdict == FragAccept {
						d.verdict = FragDrop
					}
					want = d.verdict
				}
				if got := tb.CommitFragment(now, n.zone, Local, p, nil, accept, mark); !fresh && got != want {
					rt.Fatalf("first of %+v: %v, want %v", n, got, want)
				} else if fresh {
					want := FragDrop
					if accept {
						want = FragAccept
					}
					if got != want {
						rt.Fatalf("first of %+v: %v, want %v", n, got, want)
					}
				}
				gone := 2
				if fresh {
					if d == nil { // what goes for it went before it came
						total, zone := len(c.m), 0
						for o := range c.m {
							if o.zone == n.zone {
								zone++
							}
						}
						if gone = 0; total >= c.max {
							gone++
						}
						if zone >= c.perZone {
							gone++
						}
					}
					c.m[n] = &judged{port: port, mark: mark, verdict: want, expires: now + life}
					if !accept {
						c.m[n].verdict = FragDrop
					}
				}
				settle(rt, gone, func(o datagramName, d *judged) bool { return o != n && d.idle(now) })
			}
			rest := func(rt *rapid.T) {
				n, which := name(rt), rapid.IntRange(0, 3).Draw(rt, "piece")
				p := []*packet.Packet{piece(n.id, 64, 128, true), piece(n.id, 128, 130, false), piece(n.id, 128, 130, false), piece(n.id, 64, 136, true)}[which]
				d, want, mark := live(n), FragUnknown, Mark(0)
				if d != nil {
					if d.verdict == FragAccept && (which == 3 && (d.middle || d.last) || which != 3 && d.long) {
						d.verdict = FragOverlap
					}
					if want = d.verdict; want == FragAccept {
						d.middle, d.last, d.long = d.middle || which == 0, d.last || which == 1 || which == 2, d.long || which == 3
						mark = d.mark
					}
				}
				got, m := tb.TrackFragment(now, n.zone, Local, p)
				if got != want || m != mark {
					rt.Fatalf("piece %d of %+v: %v, mark %d, want %v, %d", which, n, got, m, want, mark)
				}
				settle(rt, 0, nil)
			}
			expired := func(_ datagramName, d *judged) bool { return now >= d.expires }
			rt.Repeat(map[string]func(*rapid.T){
				"first": first, "first2": first, "first3": first, "rest": rest, "rest2": rest, "rest3": rest,
				"time": func(rt *rapid.T) {
					now += rapid.SampledFrom([]Time{second, 10 * second, life - 1, life, 1}).Draw(rt, "step")
				},
				"sweep": func(rt *rapid.T) {
					n := rapid.IntRange(0, 8).Draw(rt, "slots")
					tb.Sweep(now, n)
					settle(rt, n, expired)
					for name, d := range c.m {
						if n >= c.max && expired(name, d) {
							rt.Fatalf("%+v stays", name)
						}
					}
				},
				"flush": func(rt *rapid.T) {
					z := Zone(rapid.IntRange(1, 3).Draw(rt, "zone"))
					tb.Flush(now, z)
					settle(rt, len(c.m), func(n datagramName, _ *judged) bool { return n.zone == z })
					for n := range c.m {
						if n.zone == z {
							rt.Fatalf("%+v stays", n)
						}
					}
				},
			})
		})
	}
}

// TestFragmentSweep: every slot has its turn, however few are looked at.
func TestFragmentSweep(t *testing.T) {
	for _, max := range []int{1, 3, 7, 10} {
		tb := NewTable(Options{MaxFragments: 16, MaxFragmentsPerZone: 16, Timeouts: Timeouts{Fragment: time.Second}})
		for id := range uint32(10) {
			require.Equal(t, FragAccept, tb.CommitFragment(0, 1, Local, piece(id, 0, 64, true), nil, true, 1))
		}
		for looked := 0; looked < 10; looked += max {
			require.Len(t, auditFragments(t, &tb.frags), 10-looked)
			tb.Sweep(second, max)
		}
		require.Empty(t, auditFragments(t, &tb.frags))
	}
}

// TestFragmentEviction: what may go is found among many that may not, within a
// look at 64 of them, and every slot has its turn.
func TestFragmentEviction(t *testing.T) {
	tb := NewTable(Options{MaxFragments: 64, MaxFragmentsPerZone: 64})
	for id := range uint32(64) {
		require.Equal(t, FragAccept, tb.CommitFragment(0, 1, Local, piece(id, 0, 64, true), nil, true, 1))
	}
	for id := range uint32(64) {
		require.Equal(t, FragUnknown, tb.CommitFragment(0, 1, Local, piece(1000, 0, 64, true), nil, true, 1))
		v, _ := tb.TrackFragment(0, 1, Local, piece(id, 64, 70, false))
		require.Equal(t, FragAccept, v)
		require.Equal(t, FragAccept, tb.CommitFragment(0, 1, Local, piece(2000+id, 0, 64, true), nil, true, 1), "in the place of %d", id)
		v, _ = tb.TrackFragment(0, 1, Local, piece(id, 64, 70, false))
		require.Equal(t, FragUnknown, v)
	}
	auditFragments(t, &tb.frags)
}
