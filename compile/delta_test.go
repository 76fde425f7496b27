package compile_test

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// TestDelta: between any two programs of a history, near or far, the delta
// names what differs and nothing else, and the one that the compiler noted on
// the way is the one that a comparison of both finds.
func TestDelta(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		snapshot := drawStart(t)
		var c compile.Compiler
		m, err := c.Reset(snapshot)
		require.NoError(t, err)
		programs := []*ir.Program{m.Program()}
		// Short histories of large steps, and long ones of small steps, which
		// go beyond what a program remembers.
		batches, changes := 8, 6
		if rapid.IntRange(0, 3).Draw(t, "long") == 0 {
			batches, changes = 90, 1
		}
		for range rapid.IntRange(1, batches).Draw(t, "batches") {
			batch := drawBatch(t, snapshot, changes)
			next, _, err := snapshot.With(batch.Changes...)
			require.NoError(t, err)
			if changes > 1 && rapid.IntRange(0, 5).Draw(t, "reset") == 0 {
				empty, err := policy.New(drawProfile(t))
				require.NoError(t, err)
				if moved, _, err := empty.With(empty.Diff(next)...); err == nil {
					next = moved
				}
				m, err = c.Reset(next)
				require.NoError(t, err)
			} else {
				m, err = c.Apply(batch)
				require.NoError(t, err)
			}
			snapshot, programs = next, append(programs, m.Program())
		}
		for range 20 {
			i := rapid.IntRange(0, len(programs)-1).Draw(t, "from")
			j := rapid.IntRange(i, len(programs)-1).Draw(t, "to")
			checkDelta(t, programs[i], programs[j])
		}
		for i := range programs[1:] {
			checkDelta(t, programs[i], programs[i+1])
		}
	})
}

// checkDelta checks what Since says of p and a later q, both ways.
func checkDelta(t *rapid.T, p, q *ir.Program) {
	d, ok := q.Since(p)
	require.True(t, ok)
	back, ok := p.Since(q) // compares
	require.True(t, ok)
	require.Equal(t, mirrored(back), d)

	checkList(t, d.Rules, p.Rules(), q.Rules(), func(r ir.Rule) ir.RuleNum { return r.Num })
	checkList(t, d.Policies, p.Policies(), q.Policies(), func(p *ir.Policy) uint32 { return p.Num })
	checkList(t, d.Interfaces, p.Interfaces(), q.Interfaces(), func(i ir.Interface) sg.InterfaceID { return i.ID })
	number := func(s ir.Selector) ir.SelectorNum { return s.Num }
	selectors := slices.Concat(d.AddSelectors, d.DropSelectors)
	slices.Sort(selectors)
	checkList(t, selectors, p.Selectors(), q.Selectors(), number)

	changed := map[ir.SelectorNum]ir.MemberDelta{}
	for _, m := range d.Members {
		require.NotEmpty(t, slices.Concat(m.Add, m.Remove))
		require.NotContains(t, changed, m.Selector)
		changed[m.Selector] = m
	}
	for s := range q.Selectors() {
		if _, had := p.Selector(s.Num); !had {
			require.Contains(t, d.AddSelectors, s.Num)
			continue
		}
		was, is := slices.Collect(p.Members(s.Num, sg.FamilyAny)), slices.Collect(q.Members(s.Num, sg.FamilyAny))
		m := changed[s.Num]
		delete(changed, s.Num)
		require.Equal(t, without(is, was), m.Add)
		require.Equal(t, without(was, is), m.Remove)
	}
	require.Empty(t, changed, "members of selectors that one of the programs lacks")
}

// checkList: list is, in order, the keys of just those that differ.
func checkList[K cmp.Ordered, V any](t *rapid.T, list []K, old, new iter.Seq[V], key func(V) K) {
	was, is := map[K]V{}, map[K]V{}
	for v := range old {
		was[key(v)] = v
	}
	for v := range new {
		is[key(v)] = v
	}
	var want []K
	for k, v := range was {
		if to, has := is[k]; !has || !equal(v, to) {
			want = append(want, k)
		}
	}
	for k := range is {
		if _, had := was[k]; !had {
			want = append(want, k)
		}
	}
	slices.Sort(want)
	require.Equal(t, want, list)
}

func equal(a, b any) bool {
	if p, ok := a.(*ir.Policy); ok {
		a, b = *p, *b.(*ir.Policy)
	}
	return fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b)
}

// without returns what a has and b has not.
func without(a, b []netip.Prefix) (out []netip.Prefix) {
	for _, p := range a {
		if !slices.Contains(b, p) {
			out = append(out, p)
		}
	}
	return out
}

// mirrored returns the delta of the way back.
func mirrored(d ir.Delta) ir.Delta {
	d.AddSelectors, d.DropSelectors = d.DropSelectors, d.AddSelectors
	d.Members = slices.Clone(d.Members)
	for i := range d.Members {
		d.Members[i].Add, d.Members[i].Remove = d.Members[i].Remove, d.Members[i].Add
	}
	return d
}

// wide returns a policy with n selectors and as many policies and interfaces.
func wide(t *testing.T, n int) *policy.Snapshot {
	t.Helper()
	var changes []policy.Change
	for i := range n {
		id := fmt.Sprint("g", i)
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		changes = append(changes,
			policy.PutGroup{Group: &sg.Group{ID: sg.GroupID(id), Name: id, Rules: []sg.Rule{
				{ID: "r", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(80), Peer: sg.PeerCIDR(p)},
				{ID: "s", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(80), Peer: sg.PeerSet("s")},
			}}},
			policy.PutInterface{Interface: &sg.Interface{ID: sg.InterfaceID(id), Addrs: []netip.Prefix{p}, Groups: []sg.GroupID{sg.GroupID(id)}}})
	}
	s, err := policy.Build(strict.Profile(), append(changes, policy.PutSet{Set: ipset.New("s", sg.IPv4, sg.Global())})...)
	require.NoError(t, err)
	return s
}

func edit(n int) policy.Batch {
	p := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 32)
	return policy.Batch{Changes: []policy.Change{policy.EditSet{ID: "s", Add: []ipset.Entry{{Prefix: p}}}}}
}

// TestSinceIsLocal: what a delta costs does not depend on what did not change.
// A comparison allocates for every selector.
func TestSinceIsLocal(t *testing.T) {
	const n = 300
	var c compile.Compiler
	m, err := c.Reset(wide(t, n))
	require.NoError(t, err)
	programs := []*ir.Program{m.Program()}
	for i := range 5 {
		m, err = c.Apply(edit(i))
		require.NoError(t, err)
		programs = append(programs, m.Program())
	}
	for _, p := range programs[:5] {
		var d ir.Delta
		require.Less(t, testing.AllocsPerRun(10, func() { d, _ = m.Program().Since(p) }), 30.0)
		require.Len(t, d.Members, 1)
		require.Greater(t, testing.AllocsPerRun(1, func() { d, _ = p.Since(m.Program()) }), float64(n))
	}
}

// TestSinceKeepsNothing: a program does not keep the ones before it, nor their
// policies, for the sake of deltas.
func TestSinceKeepsNothing(t *testing.T) {
	var c compile.Compiler
	var programs []weak.Pointer[ir.Program]
	var snapshots []weak.Pointer[policy.Snapshot]
	s := wide(t, 10)
	m, err := c.Reset(s)
	require.NoError(t, err)
	for i := range 5 {
		programs = append(programs, weak.Make(m.Program()))
		snapshots = append(snapshots, weak.Make(s))
		s, _, err = s.With(edit(i).Changes...)
		require.NoError(t, err)
		m, err = c.Reset(s)
		require.NoError(t, err)
	}
	runtime.GC()
	for i := range programs {
		require.Nil(t, programs[i].Value(), i)
		require.Nil(t, snapshots[i].Value(), i)
	}
	runtime.KeepAlive(m)
	runtime.KeepAlive(s)
}
