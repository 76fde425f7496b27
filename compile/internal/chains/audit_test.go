package chains

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// audit checks that what chains keep twice is the same, and that what is out of
// use is bounded. The most rules that each chain has had come in most.
func audit(t require.TestingT, s *Set, list []*Chain, get func(ir.RuleNum) *ir.Rule, most []int) {
	users := map[ir.SelectorNum]int{}
	for i, c := range list {
		require.Len(t, c.peers, len(c.rules))
		require.Len(t, c.slots, len(c.rules))
		stateless, peers, seen := 0, map[ir.SelectorNum]bool{}, map[uint32]bool{}
		before := uint64(0)
		for k, num := range c.rules {
			r := get(num)
			require.Equal(t, r.Peer, c.peers[k])
			peers[r.Peer] = true
			if r.Stateless {
				stateless++
			}
			slot := c.slots[k]
			require.NotZero(t, slot)
			require.False(t, seen[slot], "two rules in a slot")
			seen[slot] = true
			o := c.order[slot]
			if o>>labelAt <= before {
				require.Fail(t, "out of order", "label %d behind %d", o>>labelAt, before)
			}
			before = o >> labelAt
			brief := RuleOf(r)
			require.Equal(t, brief.outcome(), o&(1<<labelAt-1))
		}
		require.Less(t, before, uint64(1<<labelBits))
		require.Equal(t, stateless, c.stateless)
		slots := 0
		bySel := c.selectors()
		require.Len(t, bySel, len(peers))
		for sel, list := range bySel {
			require.Contains(t, peers, sel)
			for _, slot := range list {
				require.Equal(t, sel, get(ir.RuleNum(c.order[slot])).Peer)
				require.True(t, seen[slot])
				slots++
			}
			if sel != ir.Any {
				require.Contains(t, usersOf(&s.users, sel), c)
				users[sel]++
			}
		}
		require.Equal(t, len(c.rules), slots)
		for f := range c.sides {
			require.LessOrEqual(t, c.sides[f].merged, s.perRule*most[i]+s.free)
			require.Empty(t, c.sides[f].stale)
		}
		require.LessOrEqual(t, len(c.order), 3*most[i]+64+32)
		require.False(t, c.touched)
	}
	require.Equal(t, len(users), known(&s.users))
	for sel, n := range users {
		require.Len(t, usersOf(&s.users, sel), n)
	}
	require.Empty(t, s.touched)
}

// brief returns what Update asks for.
func brief(get func(ir.RuleNum) *ir.Rule) func(ir.RuleNum) Rule {
	return func(n ir.RuleNum) Rule { return RuleOf(get(n)) }
}

// known returns how many selectors have users.
func known(u *users) (n int) {
	all := map[ir.SelectorNum]bool{}
	for sel, c := range u.first {
		if c != nil {
			all[ir.SelectorNum(sel)] = true
		}
	}
	for sel := range u.more {
		all[sel] = true
	}
	return len(all)
}

func usersOf(u *users, sel ir.SelectorNum) (list []*Chain) {
	u.of(sel, func(c *Chain) { list = append(list, c) })
	return list
}

// TestEditsAreCheap: an edit of one rule of many adds to a chain what concerns
// that rule. What edits leave behind is bounded, and cleared seldom.
func TestEditsAreCheap(t *testing.T) {
	for _, n := range []int{40, 1000} {
		reg := new(classes.Registry)
		set := NewSet(reg, new(classes.Registry))
		rules := map[ir.RuleNum]*ir.Rule{}
		get := func(n ir.RuleNum) *ir.Rule { return rules[n] }
		last := ir.RuleNum(0)
		rule := func(peer ir.SelectorNum) ir.RuleNum {
			last++
			port := uint16(last)
			rules[last] = &ir.Rule{Num: last, Family: sg.IPv4, Protocol: sg.TCP, Ports: sg.PortRange{First: port, Last: port}, Peer: peer, Action: sg.Accept}
			return last
		}
		is := ir.Chain{Default: sg.Drop}
		for i := range n {
			is.Rules = append(is.Rules, rule(ir.SelectorNum(i%20)))
		}
		c := set.Add(1)
		set.Update(c, &is, brief(get))
		require.Equal(t, []*Chain{c}, set.Settle())
		fresh := c.sides[0].words.Len()
		r := rand.New(rand.NewPCG(1, 2))
		anew, edits := 0, 2000
		for i := range edits {
			was, words := len(c.order), c.sides[0].words.Len()
			index := c.Index()
			at := r.IntN(n)
			peer := rules[is.Rules[at]].Peer
			is.Rules = append(append(append([]ir.RuleNum(nil), is.Rules[:at]...), rule(peer)), is.Rules[at+1:]...)
			set.Update(c, &is, brief(get))
			require.Equal(t, []*Chain{c}, set.Settle())
			require.NotSame(t, index, c.Index())
			if len(c.order) <= was || c.sides[0].words.Len() < words {
				anew++
				require.Equal(t, n+1, len(c.order), "all of it")
				require.InDelta(t, fresh, c.sides[0].words.Len(), float64(fresh)/10+10)
			} else {
				require.Equal(t, was+1, len(c.order))
				require.LessOrEqual(t, c.sides[0].words.Len(), words+4*(n/20+1)+2, "the list of its peer")
			}
			if i%100 == 0 {
				audit(t, set, []*Chain{c}, get, []int{n})
			}
			require.LessOrEqual(t, len(c.order), 2*n+64+2)
			require.LessOrEqual(t, c.sides[0].words.Len(), 2*fresh+4096+4*(n/20+1)+2)
		}
		require.Greater(t, anew, 0)
		require.Less(t, anew, edits/40, "%d of %d edits made all anew", anew, edits)
		// Nothing changed: nothing is made.
		index := c.Index()
		set.Update(c, &is, brief(get))
		set.Settle()
		require.Equal(t, len(index.order), len(c.Index().order))
		require.Empty(t, set.Settle())
	}
}

// TestManyBetween: any number of rules one before the other find a label.
func TestManyBetween(t *testing.T) {
	for name, at := range map[string]func(n int) int{"first": func(int) int { return 0 }, "last": func(n int) int { return n }, "middle": func(n int) int { return n / 2 }} {
		set := NewSet(new(classes.Registry), new(classes.Registry))
		rules := map[ir.RuleNum]*ir.Rule{}
		get := func(n ir.RuleNum) *ir.Rule { return rules[n] }
		is := ir.Chain{Default: sg.Drop}
		c := set.Add(1)
		for i := range 300 {
			num := ir.RuleNum(i + 1)
			rules[num] = &ir.Rule{Num: num, Family: sg.IPv6, Protocol: 47, Peer: ir.SelectorNum(i % 3), Action: sg.Accept}
			k := at(len(is.Rules))
			is.Rules = append(is.Rules[:k:k], append([]ir.RuleNum{num}, is.Rules[k:]...)...)
			set.Update(c, &is, brief(get))
			set.Settle()
			if i%20 == 19 {
				audit(t, set, []*Chain{c}, get, []int{len(is.Rules)})
			}
			f := ir.Flow{Protocol: 47, Remote: netip.IPv6Unspecified()}
			any := c.Index().Any(1, uint32(f.Protocol)<<16)
			want := ir.RuleNum(0)
			for _, n := range is.Rules {
				if rules[n].Peer == ir.Any {
					want = n
					break
				}
			}
			require.Equal(t, want, c.Index().Verdict(any, 0).Rule, fmt.Sprint(name, i))
		}
	}
}
