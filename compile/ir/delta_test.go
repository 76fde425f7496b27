package ir_test

import (
	"iter"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// TestSince: a delta needs one lineage and names what differs, both ways.
func TestSince(t *testing.T) {
	d := small()
	p := ir.New(d)
	_, ok := p.Since(ir.New(small()))
	require.False(t, ok, "another lineage")
	_, ok = p.Since(nil)
	require.False(t, ok)
	same, ok := p.Since(p)
	require.True(t, ok)
	require.Zero(t, same)

	d.Interfaces.Set("web-2", ir.Interface{ID: "web-2", Index: 2, Serial: 2, Policy: 1})
	d.Interfaces.Set("db-1", ir.Interface{ID: "db-1", Index: 3, Serial: 3, Policy: 7})
	d.Policies.Set(7, &ir.Policy{Num: 7})
	pol, _ := d.Policies.Get(1)
	twin := *pol
	d.Policies.Set(1, &twin) // made again, and equal
	d.Rules.Delete(2)
	d.Rules.Set(5, ir.Rule{Num: 5})
	d.Selectors.Delete(2)
	d.Selectors.Set(3, ir.Selector{Num: 3, Peer: sg.PeerGroup("app")})
	l := d.Source.(lists)
	d.Source = lists{map[sg.GroupID][]netip.Prefix{"app": prefixes("10.0.0.0/24", "10.0.0.7/32")}, l.sets}
	q := ir.New(d)
	delta, ok := q.Since(p)
	require.True(t, ok)
	require.Equal(t, ir.Delta{
		AddSelectors:  []ir.SelectorNum{3},
		DropSelectors: []ir.SelectorNum{2},
		Members: []ir.MemberDelta{{
			Selector: 1, Add: prefixes("10.0.0.0/24"), Remove: prefixes("10.0.0.0/25", "10.0.0.128/25", "fd00::1/128"),
		}},
		Rules:      []ir.RuleNum{2, 5},
		Policies:   []uint32{7},
		Interfaces: []sg.InterfaceID{"db-1", "web-2"},
	}, delta)
	back, ok := p.Since(q)
	require.True(t, ok)
	require.Equal(t, ir.Delta{
		AddSelectors: []ir.SelectorNum{2}, DropSelectors: []ir.SelectorNum{3},
		Members: []ir.MemberDelta{{
			Selector: 1, Add: prefixes("10.0.0.0/25", "10.0.0.128/25", "fd00::1/128"), Remove: prefixes("10.0.0.0/24"),
		}},
		Rules: delta.Rules, Policies: delta.Policies, Interfaces: delta.Interfaces,
	}, back)
}

// counted is a Source that counts how often it is read.
type counted struct {
	ir.Source
	reads *int
}

func (c counted) Group(vpc sg.VPCID, id sg.GroupID) iter.Seq[netip.Prefix] {
	*c.reads++
	return c.Source.Group(vpc, id)
}

func (c counted) Set(id sg.SetID) iter.Seq[netip.Prefix] {
	*c.reads++
	return c.Source.Set(id)
}

// line is programs of one lineage, each made by one more of steps.
type line struct {
	programs []*ir.Program
	reads    int // of members
}

func newLine(steps int, note func(n int, s *ir.Step)) *line {
	l := new(line)
	d := small()
	d.Source = counted{d.Source, &l.reads}
	l.programs = append(l.programs, ir.New(d))
	for n := 1; n <= steps; n++ {
		d.Generation++
		s := new(ir.Step)
		note(n, s)
		l.programs = append(l.programs, ir.Next(l.programs[n-1], d, s))
	}
	return l
}

// since returns the delta and whether it took a comparison.
func (l *line) since(t *testing.T, from, to int) (ir.Delta, bool) {
	before := l.reads
	d, ok := l.programs[to].Since(l.programs[from])
	require.True(t, ok)
	return d, l.reads > before
}

// TestSinceSteps: what the steps say is composed, checked against both
// programs, and members are not read.
func TestSinceSteps(t *testing.T) {
	a, b, c := netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/32"), netip.MustParsePrefix("fd00::/64")
	l := newLine(4, func(n int, s *ir.Step) {
		switch n {
		case 1:
			s.Member(2, c, true)
			s.Member(1, c, true)
			s.Member(1, b, true)
			s.Member(1, a, false)
			s.Member(9, a, true) // a selector that never was
			s.Policy(1)
			s.Rule(1)
			s.Selector(1)
			s.Interface("web-1")
			s.Interface("gone")
		case 2:
			s.Member(1, a, true)
			s.Member(2, c, false)
		case 3:
			s.Member(1, b, false)
			s.Member(1, a, false)
		}
	})
	for _, x := range []struct {
		from, to int
		want     []ir.MemberDelta
	}{
		{0, 1, []ir.MemberDelta{{Selector: 1, Add: []netip.Prefix{b, c}, Remove: []netip.Prefix{a}}, {Selector: 2, Add: []netip.Prefix{c}}}},
		{1, 2, []ir.MemberDelta{{Selector: 1, Add: []netip.Prefix{a}}, {Selector: 2, Remove: []netip.Prefix{c}}}},
		{0, 2, []ir.MemberDelta{{Selector: 1, Add: []netip.Prefix{b, c}}}},
		{1, 3, []ir.MemberDelta{{Selector: 1, Remove: []netip.Prefix{b}}, {Selector: 2, Remove: []netip.Prefix{c}}}},
		{0, 4, []ir.MemberDelta{{Selector: 1, Add: []netip.Prefix{c}, Remove: []netip.Prefix{a}}}},
		{3, 4, nil},
		{2, 2, nil},
	} {
		got, compared := l.since(t, x.from, x.to)
		require.False(t, compared, "%d to %d", x.from, x.to)
		require.Equal(t, ir.Delta{Members: x.want}, got, "%d to %d", x.from, x.to)
	}
	got, compared := l.since(t, 4, 0)
	require.True(t, compared, "the way back")
	require.Zero(t, got, "the source is the same all along")
}

// TestStepsAreBounded: a program remembers 64 steps, and no more of them than
// touch 65,535 things.
func TestStepsAreBounded(t *testing.T) {
	l := newLine(200, func(_ int, s *ir.Step) { s.Policy(1) })
	for _, to := range []int{64, 65, 200} {
		_, compared := l.since(t, to-64, to)
		require.False(t, compared)
		if to > 64 {
			_, compared = l.since(t, to-65, to)
			require.True(t, compared)
		}
	}

	notes := func(n int) func(int, *ir.Step) {
		return func(_ int, s *ir.Step) {
			for i := range n {
				switch i % 5 {
				case 0:
					s.Member(1, netip.MustParsePrefix("10.0.0.0/25"), i%2 == 0)
				case 1:
					s.Policy(1)
				case 2:
					s.Rule(1)
				case 3:
					s.Selector(1)
				default:
					s.Interface("web-1")
				}
			}
		}
	}
	l = newLine(4, notes(65_535/3))
	_, compared := l.since(t, 1, 4)
	require.False(t, compared)
	_, compared = l.since(t, 0, 4)
	require.True(t, compared)
	for n, want := range map[int]bool{65_535: false, 65_536: true, 200_000: true} {
		l = newLine(1, notes(n))
		_, compared = l.since(t, 0, 1)
		require.Equal(t, want, compared, n)
	}

	l = newLine(3, func(n int, s *ir.Step) {
		if n == 2 {
			notes(65_536)(n, s)
		}
	})
	_, compared = l.since(t, 2, 3)
	require.False(t, compared)
	_, compared = l.since(t, 1, 3)
	require.True(t, compared, "over a step that was too large")
}
