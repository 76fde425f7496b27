package compile_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// The world of the property tests is small, so that everything collides:
// nested and equal prefixes, both families, shared groups, self references.
var (
	prefixes = []string{
		"0.0.0.0/0", "::/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "10.1.2.2/31", "128.0.0.0/1",
		"255.255.255.255/32", "fd00::/8", "fd00:1::/32", "fd00:1::5/128", "fd00:1::4/127", "fd00:1::ffff:ffff:ffff:ffff/128", "fd00:1::8000:0:0:0/65", "fd00:2::5/128", "fd00:2:0:1::4/126", "::fffe:0:0/95", "8000::/1",
	}
	groupIDs = []sg.GroupID{"a", "b", "c"}
	setIDs   = []sg.SetID{"s4", "s6", "s"}
	ifaceIDs = []sg.InterfaceID{"i1", "i2", "i3", "i4"}
	ports    = []uint16{0, 1, 22, 79, 80, 81, 443, 8000, 8999, 9000, 65534, 65535}
	vpcs     = []sg.VPCID{"v1", "v2", ""}
	instIDs  = []sg.InstanceID{"n1", "n2"}
	owners   = []sg.OwnerID{"", "alice"}
)

func drawPrefix(t *rapid.T, f sg.Family) netip.Prefix {
	return rapid.Custom(func(t *rapid.T) netip.Prefix {
		return netip.MustParsePrefix(rapid.SampledFrom(prefixes).Draw(t, "prefix"))
	}).Filter(func(p netip.Prefix) bool { return f.Matches(sg.FamilyOf(p.Addr())) }).Draw(t, "prefix")
}

func drawRule(t *rapid.T, id int) sg.Rule {
	r := sg.Rule{ID: sg.RuleID(fmt.Sprint("r", id))}
	r.Direction = rapid.SampledFrom([]sg.Direction{sg.Ingress, sg.Egress}).Draw(t, "direction")
	r.Protocol = rapid.SampledFrom([]sg.Protocol{sg.TCP, sg.TCP, sg.UDP, sg.ICMP, sg.ICMPv6, sg.SCTP, sg.AnyProtocol, 47}).Draw(t, "protocol")
	if r.Protocol.HasPorts() {
		a, b := rapid.SampledFrom(ports).Draw(t, "first"), rapid.SampledFrom(ports).Draw(t, "last")
		r.Ports = sg.PortRange{First: min(a, b), Last: max(a, b, 1)}
	}
	if r.Protocol.HasICMP() {
		typ := rapid.SampledFrom([]uint8{0, 8, 128}).Draw(t, "type")
		r.ICMP = rapid.SampledFrom([]sg.ICMPMatch{{}, sg.ICMPType(typ), sg.ICMPTypeCode(typ, 0), sg.ICMPTypeCode(typ, 1)}).Draw(t, "icmp")
	}
	r.Family = rapid.SampledFrom([]sg.Family{sg.FamilyAny, sg.FamilyAny, sg.IPv4, sg.IPv6}).Draw(t, "family")
	switch rapid.IntRange(0, 5).Draw(t, "peer") {
	case 0, 1, 2:
		r.Peer = sg.PeerCIDR(drawPrefix(t, sg.FamilyAny))
	case 3:
		r.Peer = sg.PeerGroup(rapid.SampledFrom(groupIDs).Draw(t, "group"))
	case 5:
		r.Peer = sg.PeerAny()
	case 4:
		r.Peer = sg.PeerSet(rapid.SampledFrom(setIDs).Draw(t, "set"))
	}
	return r
}

func drawGroup(t *rapid.T) *sg.Group {
	g := &sg.Group{ID: rapid.SampledFrom(groupIDs).Draw(t, "group"), VPC: rapid.SampledFrom(vpcs).Draw(t, "vpc")}
	g.Name = string(g.ID)
	g.Stateless = rapid.IntRange(0, 3).Draw(t, "stateless") == 0
	seen := map[sg.Rule]bool{}
	for i := range rapid.IntRange(0, 5).Draw(t, "rules") {
		r := drawRule(t, i)
		if r.Validate() == nil && !seen[r.Key()] {
			seen[r.Key()] = true
			g.Rules = append(g.Rules, r)
		}
	}
	return g
}

func drawSet(t *rapid.T) *ipset.Set {
	id := rapid.SampledFrom(setIDs).Draw(t, "set")
	family := map[sg.SetID]sg.Family{"s4": sg.IPv4, "s6": sg.IPv6}[id]
	s := ipset.New(id, family, sg.Global())
	for range rapid.IntRange(0, 4).Draw(t, "entries") {
		_ = s.Add(ipset.Entry{Prefix: drawPrefix(t, s.Family())}) // duplicates are passed over
	}
	return s
}

func drawInterface(t *rapid.T) *sg.Interface {
	i := &sg.Interface{ID: rapid.SampledFrom(ifaceIDs).Draw(t, "interface"), VPC: rapid.SampledFrom(vpcs).Draw(t, "vpc")}
	for range rapid.IntRange(0, 3).Draw(t, "addrs") {
		if p := drawPrefix(t, sg.FamilyAny); p.Bits() > 0 && !slices.Contains(i.Addrs, p) {
			i.Addrs = append(i.Addrs, p)
		}
	}
	i.Groups = rapid.SliceOfNDistinct(rapid.SampledFrom(groupIDs), 0, 3, rapid.ID).Draw(t, "groups")
	i.Owner = rapid.SampledFrom(owners).Draw(t, "owner")
	if rapid.IntRange(0, 2).Draw(t, "instance") == 0 {
		i.Instance = rapid.SampledFrom(instIDs).Draw(t, "instance")
	}
	if rapid.IntRange(0, 3).Draw(t, "exempt") == 0 {
		i.Exempt = []string{"smtp"}
	}
	return i
}

func drawChange(t *rapid.T) policy.Change {
	kind := 0 // not by IntRange, which favours the small
	for range 4 {
		kind *= 2
		if rapid.Bool().Draw(t, "change") {
			kind++
		}
	}
	switch kind {
	case 12, 13:
		n := &sg.Instance{ID: rapid.SampledFrom(instIDs).Draw(t, "instance")}
		n.Groups = rapid.SliceOfNDistinct(rapid.SampledFrom(groupIDs), 0, 2, rapid.ID).Draw(t, "groups")
		return policy.PutInstance{Instance: n}
	case 14:
		if rapid.Bool().Draw(t, "delete") {
			return policy.DeleteInstance{ID: rapid.SampledFrom(instIDs).Draw(t, "instance")}
		}
		return policy.DeleteOwner{ID: "alice"}
	case 15:
		return policy.PutOwner{Owner: &sg.Owner{ID: "alice", Exempt: rapid.SampledFrom([][]string{nil, {"smtp"}, {"meta"}}).Draw(t, "exempt")}}
	case 0, 1, 2, 3:
		return policy.PutGroup{Group: drawGroup(t)}
	case 4:
		return policy.DeleteGroup{ID: rapid.SampledFrom(groupIDs).Draw(t, "group")}
	case 5:
		return policy.PutSet{Set: drawSet(t)}
	case 6:
		return policy.DeleteSet{ID: rapid.SampledFrom(setIDs).Draw(t, "set")}
	case 7:
		id := rapid.SampledFrom(setIDs).Draw(t, "set")
		family := map[sg.SetID]sg.Family{"s4": sg.IPv4, "s6": sg.IPv6}[id]
		return policy.EditSet{ID: id, Add: []ipset.Entry{{Prefix: drawPrefix(t, family)}}, Remove: []netip.Prefix{drawPrefix(t, family)}}
	case 8, 9, 10:
		return policy.PutInterface{Interface: drawInterface(t)}
	}
	return policy.DeleteInterface{ID: rapid.SampledFrom(ifaceIDs).Draw(t, "interface")}
}

// drawBatch draws changes that s takes, some of them of one rule only; changes
// drawn without a look at s mostly refer to what is not there.
func drawBatch(t *rapid.T, s *policy.Snapshot, most int) policy.Batch {
	var b policy.Batch
	for _, c := range rapid.SliceOfN(rapid.Custom(drawChange), 1, most).Draw(t, "changes") {
		if put, ok := c.(policy.PutGroup); ok && rapid.Bool().Draw(t, "one rule") {
			if g, ok := s.Group(put.Group.ID); ok && rapid.Bool().Draw(t, "by rule") {
				c = drawRuleEdit(t, g)
			} else if ok {
				c = policy.PutGroup{Group: drawEdit(t, g)}
			}
		}
		next, _, err := s.With(c)
		if err != nil {
			continue
		}
		b.Changes, s = append(b.Changes, c), next
	}
	return b
}

// drawRuleEdit draws an edit of some rules of g.
func drawRuleEdit(t *rapid.T, g *sg.Group) policy.EditGroup {
	c := policy.EditGroup{ID: g.ID}
	for _, r := range g.Rules {
		is := drawRule(t, 0)
		is.ID = r.ID
		switch rapid.IntRange(0, 5).Draw(t, "what") {
		case 0:
			c.Remove = append(c.Remove, r.ID)
		case 1:
			c.Replace = append(c.Replace, is)
		case 2:
			c.Remove, c.Add = append(c.Remove, r.ID), append(c.Add, is)
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "more") {
		c.Add = append(c.Add, drawRule(t, rapid.IntRange(0, 9).Draw(t, "id")))
	}
	return c
}

// drawEdit returns g with one rule more, less or another one, or tracked where
// it was not.
func drawEdit(t *rapid.T, g *sg.Group) *sg.Group {
	g = g.Clone()
	r := drawRule(t, rapid.IntRange(0, 7).Draw(t, "id"))
	at := rapid.IntRange(0, len(g.Rules)).Draw(t, "at")
	switch rapid.IntRange(0, 4).Draw(t, "edit") {
	case 0:
		g.Rules = append(g.Rules, r)
	case 1:
		g.Rules = slices.Insert(g.Rules, at, r)
	case 2:
		g.Rules = slices.Delete(g.Rules, min(at, max(len(g.Rules)-1, 0)), min(at+1, len(g.Rules)))
	case 3:
		if at < len(g.Rules) {
			g.Rules[at] = r
		}
	case 4:
		g.Stateless = !g.Stateless
	}
	return g
}

// drawStart draws a policy in which everything that rules may name is there,
// and some of it in use.
func drawStart(t *rapid.T) *policy.Snapshot {
	var changes []policy.Change
	for _, id := range groupIDs {
		changes = append(changes, policy.PutGroup{Group: &sg.Group{ID: id, Name: string(id), VPC: "v1"}})
	}
	for _, id := range setIDs {
		s := drawSet(t)
		s.ID, s.Name = id, string(id)
		changes = append(changes, policy.PutSet{Set: s})
	}
	s, err := policy.Build(drawProfile(t), changes...)
	require.NoError(t, err)
	changes = nil
	for _, id := range groupIDs {
		g := drawGroup(t)
		g.ID, g.Name, g.VPC = id, string(id), "v1"
		changes = append(changes, policy.PutGroup{Group: g})
	}
	for _, id := range ifaceIDs {
		i := drawInterface(t)
		i.ID, i.VPC = id, "v1"
		changes = append(changes, policy.PutInterface{Interface: i})
	}
	for _, c := range changes {
		if next, _, err := s.With(c); err == nil {
			s = next
		}
	}
	return s
}

// drawProfile draws the answers in which clouds differ.
func drawProfile(t *rapid.T) sg.Profile {
	action := rapid.SampledFrom([]sg.Action{sg.Drop, sg.Accept})
	p := sg.Profile{Name: "drawn", Unattached: action.Draw(t, "unattached"), EmptyDirection: action.Draw(t, "empty"), AllowStateless: true}
	p.Unit = rapid.SampledFrom([]sg.Unit{sg.PerInterface, sg.PerInstance}).Draw(t, "unit")
	p.OnReferenced = rapid.SampledFrom([]sg.OnReferenced{sg.Restrict, sg.Cascade}).Draw(t, "referenced")
	p.ICMPCoversIPv6 = rapid.Bool().Draw(t, "icmp")
	if rapid.IntRange(0, 3).Draw(t, "beyond") == 0 {
		p.BeyondAny = []sg.PlatformRule{{Name: "metadata", Rule: sg.Rule{
			ID: "metadata", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerCIDR(netip.MustParsePrefix("10.1.2.0/24")),
		}}}
	}
	if rapid.Bool().Draw(t, "platform") {
		smtp := sg.Rule{ID: "smtp", Direction: sg.Egress, Protocol: sg.TCP, Ports: sg.Port(80), Peer: sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0"))}
		meta := sg.Rule{ID: "meta", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerCIDR(netip.MustParsePrefix("10.1.2.2/31"))}
		nd := sg.Rule{ID: "nd", Direction: sg.Ingress, Protocol: sg.ICMPv6, Peer: sg.PeerCIDR(netip.MustParsePrefix("::/0"))}
		p.Platform = []sg.PlatformRule{
			{Name: "smtp", Action: sg.Drop, Rule: smtp}, {Name: "meta", Action: sg.Accept, Rule: meta}, {Name: "nd", Action: sg.Accept, Rule: nd},
		}
	}
	return p
}

// flows are aimed at the first and last address and port of everything.
func flows() []ir.Flow {
	var addrs []netip.Addr
	for _, s := range prefixes {
		p := netip.MustParsePrefix(s)
		first := p.Addr()
		b := first.AsSlice()
		for i := p.Bits(); i < 8*len(b); i++ {
			b[i/8] |= 0x80 >> (i % 8)
		}
		last, _ := netip.AddrFromSlice(b)
		for _, a := range []netip.Addr{first.Prev(), first, last, last.Next()} {
			if a.IsValid() {
				addrs = append(addrs, a)
			}
		}
	}
	addrs = append(addrs, netip.MustParseAddr("::ffff:10.1.2.3"), netip.MustParseAddr("fd00:1::5%eth0"), netip.Addr{})
	var out []ir.Flow
	for n, a := range addrs {
		for _, p := range []uint8{6, 17, 132} {
			for k, port := range ports {
				if (n+k)%3 == 0 {
					out = append(out, ir.Flow{Remote: a, Protocol: p, Port: port})
				}
			}
			out = append(out, ir.Flow{Remote: a, Protocol: p, NoPorts: true})
		}
		for _, p := range []uint8{1, 58} {
			for _, typ := range []uint8{0, 8, 128} {
				out = append(out, ir.Flow{Remote: a, Protocol: p, ICMPType: typ, ICMPCode: uint8(n % 3)})
			}
		}
		out = append(out, ir.Flow{Remote: a, Protocol: 47}, ir.Flow{Remote: a, Protocol: 50})
	}
	return out
}

// judge is one question and what a verdict means without its numbers.
type answer struct {
	Action    sg.Action
	Reason    ir.Reason
	Stateless bool
	Ref       ir.RuleRef
}

func eval(p *ir.Program, id sg.InterfaceID, d sg.Direction, f ir.Flow) answer {
	v := p.Eval(id, d, f)
	r, _ := p.Rule(v.Rule)
	return answer{v.Action, v.Reason, v.Stateless, r.Ref}
}

var directions = []sg.Direction{sg.Ingress, sg.Egress}

// TestMatcherIsEval: after any sequence of changes,
//   - Match equals Eval, to the rule that is named;
//   - Apply equals a compile from scratch;
//   - earlier matchers answer as they did;
//   - the epoch moves whenever something accepted is refused;
//   - a refused batch changes nothing;
//   - a delta says what changed.
func TestMatcherIsEval(t *testing.T) {
	questions := flows()
	often(t, 2, func(t *rapid.T) {
		start, err := policy.New(drawProfile(t))
		require.NoError(t, err)
		if rapid.Bool().Draw(t, "start") {
			start = drawStart(t)
		}
		var c compile.Compiler
		m, err := c.Reset(start)
		require.NoError(t, err)
		snapshot := start
		step := rapid.IntRange(1, len(questions)/7).Draw(t, "stride")
		for n := range rapid.IntRange(1, 12).Draw(t, "batches") {
			batch := policy.Batch{Changes: rapid.SliceOfN(rapid.Custom(drawChange), 1, 6).Draw(t, "changes")}
			if rapid.IntRange(0, 3).Draw(t, "valid") > 0 {
				batch = drawBatch(t, snapshot, 6)
			}
			next, _, wantErr := snapshot.With(batch.Changes...)
			var m2 *compile.Matcher
			if n%3 == 2 && wantErr == nil {
				if empty, err := policy.New(drawProfile(t)); err == nil { // another profile
					if moved, _, err := empty.With(empty.Diff(next)...); err == nil {
						next = moved
					}
				}
				m2, err = c.Reset(next)
			} else {
				m2, err = c.Apply(batch)
			}
			if wantErr != nil {
				require.Error(t, err)
				var errs sg.Errors
				require.True(t, errors.As(err, &errs))
				require.Same(t, m, c.Matcher())
				continue
			}
			require.NoError(t, err)
			require.NoError(t, next.Validate())
			fresh, err := compile.Compile(next)
			require.NoError(t, err)
			p, q := m.Program(), m2.Program()
			for _, id := range ifaceIDs {
				i, ok := m2.Interface(id)
				for _, d := range append(directions, 0) {
					checkBatch(t, m2, i.Index, d, questions[n:])
				}
				for k := n; k < len(questions); k += step {
					f := questions[k]
					for _, d := range directions {
						want := q.Eval(id, d, f)
						if ok {
							require.Equal(t, want, m2.Match(i.Index, d, f), "%v %v %+v", id, d, f)
						} else {
							require.Equal(t, ir.ReasonUnknownInterface, want.Reason)
						}
						is := eval(q, id, d, f)
						require.Equal(t, eval(fresh.Program(), id, d, f), is, "%v %v %+v", id, d, f)
						was := p.Eval(id, d, f)
						if old, had := p.Interface(id); had {
							require.Equal(t, was, m.Match(old.Index, d, f), "an old matcher changed")
							if ok && i.Serial == old.Serial && was.Action == sg.Accept && is.Action == sg.Drop {
								require.NotEqual(t, p.Epoch(), q.Epoch(), "%v %v %+v: was accepted, is %+v", id, d, f, is)
							}
						}
					}
				}
			}
			checkDelta(t, p, q)
			snapshot, m = next, m2
		}
	})
}

// checkBatch: a batch is its flows, one by one.
func checkBatch(t *rapid.T, m *compile.Matcher, index uint32, d sg.Direction, flows []ir.Flow) {
	flows = flows[:min(len(flows), 130)]
	out := make([]ir.Verdict, len(flows)+1)
	require.Equal(t, len(flows), m.MatchBatch(index, d, flows, out))
	require.Equal(t, 3, m.MatchBatch(index, d, flows, out[:3]))
	for i, f := range flows {
		if v := m.Match(index, d, f); v != out[i] {
			require.Equal(t, v, out[i], "%v %+v", d, f)
		}
	}
	require.Zero(t, out[len(flows)])
	checkChain(t, m.Chain(index, d), flows, out)
}

// checkChain: what is looked up once says of flows, whole and in words, what the
// matcher says.
func checkChain(t *rapid.T, c compile.Chain, flows []ir.Flow, want []ir.Verdict) {
	var words []compile.Words
	var said []ir.Verdict
	for i, f := range flows {
		if v := c.Match(f); v != want[i] {
			require.Equal(t, want[i], v, "%+v", f)
		}
		if !f.Remote.IsValid() || f.NoPorts || !sg.Protocol(f.Protocol).HasPorts() {
			continue
		}
		a := f.Remote.As16()
		w := compile.Words{High: binary.BigEndian.Uint64(a[:8]), Low: binary.BigEndian.Uint64(a[8:]), Family: sg.IPv6, Protocol: f.Protocol, Port: f.Port}
		v := c.Match6(w.High, w.Low, w.Protocol, w.Port)
		if f.Remote.Is4() {
			w.High, w.Low, w.Family = rapid.Uint64().Draw(t, "no matter"), uint64(binary.BigEndian.Uint32(a[12:])), sg.IPv4
			v = c.Match4(uint32(w.Low), w.Protocol, w.Port)
		}
		if v != want[i] {
			require.Equal(t, want[i], v, "%+v", w)
		}
		words, said = append(words, w), append(said, v)
	}
	out := make([]ir.Verdict, len(words)+1)
	require.Equal(t, len(words), c.MatchWords(words, out))
	require.Equal(t, said, out[:len(words)])
	require.Equal(t, 3, c.MatchWords(words, out[:3]))
	require.Zero(t, out[len(words)])
}

// TestChainOfNobody: an interface that is not known, or a direction that is none,
// allows nothing.
func TestChainOfNobody(t *testing.T) {
	s, err := policy.Build(strict.Profile(), policy.PutInterface{Interface: &sg.Interface{ID: "i"}})
	require.NoError(t, err)
	m, err := compile.Compile(s)
	require.NoError(t, err)
	i, ok := m.Interface("i")
	require.True(t, ok)
	no := ir.Verdict{Reason: ir.ReasonUnknownInterface}
	for _, c := range []compile.Chain{{}, m.Chain(i.Index+1, sg.Ingress), m.Chain(i.Index, 0), m.Chain(i.Index, 3)} {
		require.Equal(t, no, c.Match(ir.Flow{}))
		require.Equal(t, no, c.Match4(1, 6, 2))
		require.Equal(t, no, c.Match6(1, 2, 6, 3))
		out := make([]ir.Verdict, 2)
		out[0].Rule = 7
		require.Equal(t, 1, c.MatchWords(make([]compile.Words, 1), out))
		require.Equal(t, []ir.Verdict{no, {}}, out)
	}
}

// TestRuleEdits: what is compiled anew after the edit of a rule among others
// comes to the same as compiling everything: verdicts, and what is kept.
func TestRuleEdits(t *testing.T) {
	questions := flows()
	often(t, 2, func(t *rapid.T) {
		s := drawStart(t)
		grow := func(next *policy.Snapshot, _ []policy.Change, err error) {
			if err == nil {
				s = next
			}
		}
		var changes []policy.Change // since the last compilation
		reset := false              // there are others, too
		change := func(c policy.Change) {
			if next, _, err := s.With(c); err == nil {
				s, changes = next, append(changes, c)
			}
		}
		i := &sg.Interface{ID: "i1", VPC: "v1", Groups: groupIDs}
		if s.Profile().Unit == sg.PerInstance {
			grow(s.With(policy.PutInstance{Instance: &sg.Instance{ID: "n1", Groups: groupIDs}}))
			i.Instance, i.Groups = "n1", nil
		}
		grow(s.With(policy.PutInterface{Interface: i}))
		edit := func(n int) {
			g, _ := s.Group(groupIDs[rapid.IntRange(0, 1).Draw(t, "group")])
			for range n {
				if rapid.Bool().Draw(t, "by rule") {
					change(drawRuleEdit(t, g))
				} else {
					change(policy.PutGroup{Group: drawEdit(t, g)})
				}
				g, _ = s.Group(g.ID)
			}
		}
		edit(20)
		edit(20)
		var c compile.Compiler
		_, err := c.Reset(s)
		require.NoError(t, err)
		changes = nil
		for n := range rapid.IntRange(1, 8).Draw(t, "edits") {
			edit(rapid.IntRange(0, 2).Draw(t, "at once"))
			if rapid.Bool().Draw(t, "another set") { // perhaps of the other family
				set := ipset.New("s", sg.FamilyAny, sg.Global())
				require.NoError(t, set.Add(ipset.Entry{Prefix: drawPrefix(t, sg.FamilyAny)}))
				change(policy.PutSet{Set: set})
			}
			if rapid.IntRange(0, 7).Draw(t, "profile") == 0 {
				empty, err := policy.New(drawProfile(t))
				require.NoError(t, err)
				grow(empty.With(empty.Diff(s)...))
				reset = true
			}
			var m *compile.Matcher
			if reset || rapid.Bool().Draw(t, "reset") {
				m, err = c.Reset(s)
			} else {
				m, err = c.Apply(policy.Batch{Changes: changes})
			}
			require.NoError(t, err)
			changes, reset = nil, false
			fresh, err := compile.Compile(s)
			require.NoError(t, err)
			for k := n; k < len(questions); k += 5 {
				for _, d := range directions {
					is, ok := m.Interface("i1")
					require.True(t, ok)
					v, f := m.Match(is.Index, d, questions[k]), questions[k]
					require.Equal(t, m.Program().Eval("i1", d, f), v, "%v %+v", d, f)
					require.Equal(t, eval(fresh.Program(), "i1", d, f), eval(m.Program(), "i1", d, f), "%v %+v", d, f)
				}
			}
			require.Equal(t, contents(fresh.Program()), contents(m.Program()))
		}
	})
}

// contents is what a program holds, without numbers and order.
func contents(p *ir.Program) (out []string) {
	for s := range p.Selectors() {
		out = append(out, fmt.Sprint(s.VPC, s.Peer))
	}
	for r := range p.Rules() {
		peer, _ := p.Selector(r.Peer)
		r.Num, r.Peer = 0, 0
		out = append(out, fmt.Sprint(r, peer.VPC, peer.Peer))
	}
	for i := range p.Interfaces() {
		pol, _ := p.Policy(i.Policy)
		for _, d := range directions {
			c := pol.Chain(d)
			line := fmt.Sprint(i.ID, d, c.Default, c.Reason)
			for _, n := range c.Rules {
				r, _ := p.Rule(n)
				line += fmt.Sprint(" ", r.Ref, r.Family)
			}
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

// TestMetamorphic: what must not matter does not.
func TestMetamorphic(t *testing.T) {
	questions := flows()
	rapid.Check(t, func(t *rapid.T) {
		profile := drawProfile(t)
		changes := []policy.Change{}
		for _, id := range setIDs {
			s := drawSet(t)
			s.ID = id
			changes = append(changes, policy.PutSet{Set: s})
		}
		for _, id := range groupIDs {
			g := drawGroup(t)
			g.ID, g.VPC, g.Name = id, "v1", string(id)
			changes = append(changes, policy.PutGroup{Group: g})
		}
		i := drawInterface(t)
		i.VPC = "v1"
		base, err := policy.Build(profile, append(changes, policy.PutInterface{Interface: i})...)
		if err != nil {
			t.Skip("the draw is not a valid policy")
		}
		reversed := i.Clone()
		for a, b := 0, len(reversed.Groups)-1; a < b; a, b = a+1, b-1 {
			reversed.Groups[a], reversed.Groups[b] = reversed.Groups[b], reversed.Groups[a]
		}
		other, err := policy.Build(profile, append(changes, policy.PutInterface{Interface: reversed})...)
		require.NoError(t, err)

		more := base
		if len(i.Groups) > 0 {
			g, _ := base.Group(i.Groups[0])
			g = g.Clone()
			r := drawRule(t, 99)
			if r.Validate() == nil {
				g.Rules = append(g.Rules, r)
			}
			if next, _, err := base.With(policy.PutGroup{Group: g}); err == nil {
				more = next
			}
		}
		a, err := compile.Compile(base)
		require.NoError(t, err)
		b, err := compile.Compile(other)
		require.NoError(t, err)
		c, err := compile.Compile(more)
		require.NoError(t, err)
		for k := rapid.IntRange(0, 30).Draw(t, "first"); k < len(questions); k += 31 {
			for _, d := range directions {
				x, y, z := eval(a.Program(), i.ID, d, questions[k]), eval(b.Program(), i.ID, d, questions[k]), eval(c.Program(), i.ID, d, questions[k])
				require.Equal(t, x.Action, y.Action, "the order of groups changed the action")
				require.Equal(t, x.Stateless, y.Stateless, "the order of groups changed tracking")
				if profile.EmptyDirection == sg.Drop && x.Action == sg.Accept {
					require.Equal(t, sg.Accept, z.Action, "adding a rule denied something")
				}
			}
		}
	})
}

// TestEditBesideSet: a set that gets another family changes rules that an edit
// in the same batch does not name.
func TestEditBesideSet(t *testing.T) {
	set := func(p string) *ipset.Set {
		s := ipset.New("s", sg.FamilyOf(netip.MustParsePrefix(p).Addr()), sg.Global())
		require.NoError(t, s.Add(ipset.Entry{Prefix: netip.MustParsePrefix(p)}))
		return s
	}
	rule := func(id sg.RuleID, port uint16, p sg.Peer) sg.Rule {
		return sg.Rule{ID: id, Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(port), Peer: p}
	}
	s, err := policy.Build(sg.Profile{Name: "p"},
		policy.PutSet{Set: set("10.0.0.0/8")},
		policy.PutGroup{Group: &sg.Group{ID: "a", Name: "a", VPC: "v1", Rules: []sg.Rule{rule("set", 1, sg.PeerSet("s")), rule("any", 2, sg.PeerAny())}}},
		policy.PutInterface{Interface: &sg.Interface{ID: "i1", VPC: "v1", Groups: []sg.GroupID{"a"}}},
	)
	require.NoError(t, err)
	var c compile.Compiler
	_, err = c.Reset(s)
	require.NoError(t, err)
	batch := policy.Batch{Changes: []policy.Change{
		policy.PutSet{Set: set("fd00::/8")},
		policy.EditGroup{ID: "a", Replace: []sg.Rule{rule("any", 3, sg.PeerAny())}},
	}}
	m, err := c.Apply(batch)
	require.NoError(t, err)
	s, _, err = s.With(batch.Changes...)
	require.NoError(t, err)
	fresh, err := compile.Compile(s)
	require.NoError(t, err)
	require.Equal(t, contents(fresh.Program()), contents(m.Program()))
	i, _ := m.Interface("i1")
	require.Equal(t, sg.Accept, m.Match(i.Index, sg.Ingress, ir.Flow{Remote: netip.MustParseAddr("fd00::1"), Protocol: 6, Port: 1}).Action)
}

// often checks a property in n times as many cases as rapid does by itself, which
// is 20 of a short run and 100 of a long one.
func often(t *testing.T, n int, property func(*rapid.T)) {
	for range n {
		rapid.Check(t, property)
	}
}
