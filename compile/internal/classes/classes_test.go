package classes

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/gaissmai/bart"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/internal/pages"
	"example.com/secgroup/compile/internal/ranges"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// TestModel: the class of an address is the set of selectors with a prefix
// that contains it, whatever came and went before, and published tables stay
// as they were.
func TestModel(t *testing.T) {
	prefixes := rapid.Custom(func(t *rapid.T) netip.Prefix {
		if rapid.Bool().Draw(t, "v6") {
			bits := rapid.SampledFrom([]int{0, 1, 8, 64, 65, 127, 128}).Draw(t, "bits")
			a := [16]byte{0: rapid.Byte().Draw(t, "a0") & 0x81, 7: rapid.Byte().Draw(t, "a7") & 1, 15: rapid.Byte().Draw(t, "a15") & 3}
			if rapid.IntRange(0, 3).Draw(t, "end") == 0 { // of a high half
				for i := 8; i < 16; i++ {
					a[i] |= 0xfc
				}
			}
			return netip.PrefixFrom(netip.AddrFrom16(a), bits).Masked()
		}
		bits := rapid.SampledFrom([]int{0, 1, 7, 8, 9, 16, 24, 30, 31, 32}).Draw(t, "bits")
		a := [4]byte{rapid.Byte().Draw(t, "a0") & 0x81, 0, rapid.Byte().Draw(t, "a2") & 1, rapid.Byte().Draw(t, "a3") & 3}
		return netip.PrefixFrom(netip.AddrFrom4(a), bits).Masked()
	})
	type member = pair
	often(t, 3, func(t *rapid.T) {
		regs := [2]*Registry{{}, {}}
		spaces := [2]*Space{NewSpace(sg.IPv4, regs[0]), NewSpace(sg.IPv6, regs[1])}
		in := func(a netip.Addr) int {
			if a.Is4() {
				return 0
			}
			return 1
		}
		var have []member
		var sets [2]map[Class][]ir.SelectorNum
		settle := func() {
			for i, s := range spaces {
				s.Settle()
				require.Equal(t, s.store.n == 0, s.Empty())
				made, dropped := regs[i].Flush()
				auditStore(t, &s.store)
				is := auditRegistry(t, regs[i], s)
				checkFlush(t, sets[i], is, made, dropped)
				sets[i] = is
			}
		}
		change := func(m member, n int) { spaces[in(m.p.Addr())].Change(m.p, m.s, n) }
		check := func(t *rapid.T) {
			var maps [2]*ranges.Map
			for i, s := range spaces {
				maps[i] = s.Map()
			}
			table := oracle(have)
			for _, m := range have {
				for _, a := range []netip.Addr{m.p.Addr(), m.p.Addr().Prev(), m.p.Addr().Next(), last(m.p), last(m.p).Next()} {
					if !a.IsValid() || a.Is4() != m.p.Addr().Is4() {
						continue
					}
					want, _ := table.Lookup(a)
					got := regs[in(a)].Set(find(maps[in(a)], a))
					require.Equal(t, want, append([]ir.SelectorNum(nil), got...), "%v in %v", a, have)
				}
			}
			for _, m := range have {
				n := 0
				for _, o := range have {
					if o == m {
						n++
					}
				}
				require.Equal(t, n, spaces[in(m.p.Addr())].Count(m.p, m.s))
			}
		}
		one := func() {
			if rapid.IntRange(0, 9).Draw(t, "op") < 6 || len(have) == 0 {
				m := member{prefixes.Draw(t, "p"), ir.SelectorNum(rapid.IntRange(1, 4).Draw(t, "s"))}
				have = append(have, m)
				change(m, 1)
			} else {
				i := rapid.IntRange(0, len(have)-1).Draw(t, "i")
				change(have[i], -1)
				have = slices.Delete(have, i, i+1)
			}
		}
		if rapid.Bool().Draw(t, "many") { // enough for nodes
			r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
			for range 150 {
				m := member{netip.PrefixFrom(netip.AddrFrom4([4]byte{0x81, 0, byte(r.UintN(2)), byte(r.UintN(256))}), 29+r.IntN(4)).Masked(), ir.SelectorNum(1 + r.IntN(3))}
				if r.IntN(2) == 0 {
					m.p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x81, 15: byte(r.UintN(256))}), 125+r.IntN(4)).Masked()
				}
				have = append(have, m)
				change(m, 1)
			}
		}
		if rapid.Bool().Draw(t, "filled") {
			one := rapid.SliceOfN(prefixes, 0, 20).Draw(t, "prefixes")
			if rapid.Bool().Draw(t, "sorted") {
				slices.SortFunc(one, netip.Prefix.Compare)
				one = slices.Compact(one)
			}
			for i := range spaces {
				var list []netip.Prefix
				for _, p := range one {
					if in(p.Addr()) == i {
						list, have = append(list, p), append(have, member{p, 3})
					}
				}
				spaces[i].Fill(slices.Values(list), 3, len(list))
			}
		}
		var old []func()
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			for range rapid.SampledFrom([]int{1, 1, 1, 2, 40}).Draw(t, "at once") {
				one()
			}
			settle()
			check(t)
			for i := range spaces {
				m, sets := spaces[i].Map(), regs[i].Sets()
				if len(old) < 20 {
					have := slices.Clone(have)
					want := dump(have, i, m, sets)
					old = append(old, func() { require.Equal(t, want, dump(have, i, m, sets), "a published map changed") })
				}
			}
		}
		for _, f := range old {
			f()
		}
		for _, m := range have {
			change(m, -1)
		}
		settle()
		for i, s := range spaces {
			require.True(t, s.Empty())
			require.Empty(t, s.again)
			require.Zero(t, s.Map().Find2(0, 0))
			require.Zero(t, regs[i].known.Len())
			for _, n := range regs[i].uses {
				require.Zero(t, n)
			}
		}
	})
}

type pair struct {
	p netip.Prefix
	s ir.SelectorNum
}

func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// oracle is a prefix table that has the set of selectors for each prefix.
func oracle(have []pair) *bart.Table[[]ir.SelectorNum] {
	t := new(bart.Table[[]ir.SelectorNum])
	for _, m := range have {
		var set []ir.SelectorNum
		for _, o := range have {
			if o.p.Bits() <= m.p.Bits() && o.p.Contains(m.p.Addr()) && !slices.Contains(set, o.s) {
				set = append(set, o.s)
			}
		}
		slices.Sort(set)
		t.Insert(m.p, set)
	}
	return t
}

func find(m *ranges.Map, a netip.Addr) Class {
	p := prefixOf(netip.PrefixFrom(a, a.BitLen()))
	if a.Is4() {
		return m.Find(p.high)
	}
	return m.Find2(p.high, p.low)
}

func dump(have []pair, family int, m *ranges.Map, sets *pages.Array[[]ir.SelectorNum]) (out []string) {
	for _, h := range have {
		if (family == 0) == h.p.Addr().Is4() {
			c := find(m, h.p.Addr())
			out = append(out, fmt.Sprint(h.p, c, sets.At(c&^Single)))
		}
	}
	return out
}

// TestStoreChunks: entries of a store that grows and shrinks lie in order, in
// chunks of a fair size, and each is found.
func TestStoreChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s := &store{family: sg.IPv4}
	have := map[prefix]bool{}
	at := func(n uint64) prefix { return prefix{high: n, bits: 32} }
	check := func() {
		t.Helper()
		auditStore(t, s)
		require.Len(t, have, s.n)
		for n := range uint64(1200) {
			e := s.get(at(n))
			require.Equal(t, have[at(n)], e != nil)
			before := s.before(at(n))
			for k := n; ; k-- {
				if k == 0 {
					require.Nil(t, before)
					break
				}
				if have[at(k-1)] {
					require.Equal(t, at(k-1), before.prefix)
					break
				}
			}
		}
		k := 0
		s.from(at(600), func(e *entry) bool {
			require.GreaterOrEqual(t, e.high, uint64(600))
			k++
			return k < 300
		})
		want := 0
		for p := range have {
			if p.high >= 600 {
				want++
			}
		}
		require.Equal(t, min(want, 300), k)
	}
	for _, grow := range []int{9, 1, 9, 1, 5} { // of ten steps
		for range 1500 {
			p := at(uint64(r.IntN(1200)))
			switch add := r.IntN(10) < grow; {
			case add && !have[p]:
				s.insert(entry{prefix: p, own: Single | 1})
				have[p] = true
			case !add:
				s.remove(p)
				delete(have, p)
			}
		}
		check()
	}
	for p := range have {
		s.remove(p)
		auditStore(t, s)
		delete(have, p)
	}
	check()
	require.Empty(t, s.chunks)
	for _, n := range []int{0, 1, 191, 192, 193, 1000} { // ascending, as chunks split
		var list []entry
		up := &store{family: sg.IPv4}
		clear(have)
		for k := range n {
			list = append(list, entry{prefix: at(uint64(k)), own: Single | 1})
			up.insert(list[k])
			have[at(uint64(k))] = true
		}
		s = up
		check()
		s = &store{family: sg.IPv4}
		s.load(list)
		check()
	}
}

// TestManySelectors: the sets of many selectors that are nested in every way are
// told apart, however many are made at once.
func TestManySelectors(t *testing.T) {
	const n = 40
	for _, together := range []bool{true, false} {
		reg := new(Registry)
		s := NewSpace(sg.IPv4, reg)
		inner := func(i, j int) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), byte(j), 1}), 32)
		}
		for i := range n {
			s.Change(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16), ir.SelectorNum(1+i), 1)
		}
		if !together {
			s.Settle()
			reg.Flush()
		}
		for i := range n {
			for j := range n {
				s.Change(inner(i, j), ir.SelectorNum(100+j), 1)
				s.Change(inner(i, j), ir.SelectorNum(200+(i*j)%7), 1)
			}
		}
		s.Settle()
		reg.Flush()
		for i := range n {
			for j := range n {
				want := []ir.SelectorNum{ir.SelectorNum(1 + i), ir.SelectorNum(100 + j), ir.SelectorNum(200 + (i*j)%7)}
				if got := reg.Set(find(s.Map(), inner(i, j).Addr())); !slices.Equal(got, want) {
					t.Fatalf("%v: %v, want %v", inner(i, j), got, want)
				}
				if got := reg.Set(find(s.Map(), inner(i, j).Addr().Next())); !slices.Equal(got, want[:1]) {
					t.Fatalf("behind %v: %v, want %v", inner(i, j), got, want[:1])
				}
			}
		}
	}
}

// often checks a property in n times as many cases as rapid does by itself, which
// is 20 of a short run and 100 of a long one.
func often(t *testing.T, n int, property func(*rapid.T)) {
	for range n {
		rapid.Check(t, property)
	}
}
