package chains

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/internal/services"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// world is chains over the IPv4 addresses 0 to 15 and the selectors 1 to 6,
// in a form that is slow and obvious.
type world struct {
	rules   map[ir.RuleNum]*ir.Rule
	members map[ir.SelectorNum]map[byte]bool
	chains  []ir.Chain
}

func address(a byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, a}) }

func (w *world) eval(c *ir.Chain, a byte, f ir.Flow) ir.Verdict {
	v := ir.Verdict{Action: c.Default, Reason: c.Reason}
	found, tracked := false, false
	for _, n := range c.Rules {
		r := w.rules[n]
		if !r.MatchesService(f) || r.Peer != ir.Any && !w.members[r.Peer][a] {
			continue
		}
		tracked = tracked || r.Action == sg.Accept && !r.Stateless
		if !found {
			found = true
			v = ir.Verdict{Action: r.Action, Reason: ir.ReasonRule, Rule: n}
			if r.Ref.Platform != "" {
				v.Reason = ir.ReasonPlatform
			}
		}
	}
	v.Stateless = found && v.Action == sg.Accept && !tracked
	return v
}

// sure says whether a rule for any peer decides on f before any rule for one, and
// no stateless rule makes others count too.
func (w *world) sure(c *ir.Chain, f ir.Flow) bool {
	for _, n := range c.Rules {
		if w.rules[n].Stateless {
			return false
		}
	}
	for _, n := range c.Rules {
		switch r := w.rules[n]; {
		case r.Peer != ir.Any:
			return false
		case r.MatchesService(f):
			return true
		}
	}
	return false
}

// TestModel: after any edits of rules and members an index is the scan of its
// rules, whether or not there is room for merged lists, and the indexes before
// answer as they did.
func TestModel(t *testing.T) {
	often(t, 5, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		reg, other := new(classes.Registry), new(classes.Registry)
		space := classes.NewSpace(sg.IPv4, reg)
		set := NewSet(reg, other)
		set.perRule = rapid.SampledFrom([]int{0, 1, piecesPerRule}).Draw(t, "per rule")
		set.free = rapid.SampledFrom([]int{0, 10, piecesFree}).Draw(t, "free")
		w := &world{rules: map[ir.RuleNum]*ir.Rule{}, members: map[ir.SelectorNum]map[byte]bool{}, chains: make([]ir.Chain, 2)}
		is := []*Chain{set.Add(1), set.Add(2)}
		get := func(n ir.RuleNum) *ir.Rule { return w.rules[n] }
		last, stateless := ir.RuleNum(0), rapid.Bool().Draw(t, "stateless")
		rule := func() ir.RuleNum {
			last++
			n := ir.Rule{Num: last, Family: sg.IPv4, Protocol: []sg.Protocol{sg.TCP, sg.UDP, sg.AnyProtocol, 47}[r.IntN(4)], Peer: ir.SelectorNum(r.IntN(7))}
			n.Action = []sg.Action{sg.Accept, sg.Accept, sg.Drop}[r.IntN(3)]
			n.Stateless = stateless && r.IntN(4) == 0
			if r.IntN(5) == 0 {
				n.Ref.Platform = "p"
			}
			if n.Protocol.HasPorts() {
				a, b := uint16(r.IntN(5)), uint16(r.IntN(5))
				n.Ports = sg.PortRange{First: min(a, b), Last: max(a, b)}
				if r.IntN(4) == 0 {
					n.Ports = sg.AllPorts()
				}
			}
			w.rules[last] = &n
			return last
		}
		type question struct {
			x     *Index
			class classes.Class
			multi Sets
			f     ir.Flow
			want  ir.Verdict
			sure  bool // the rules for any peer must decide
		}
		ask := func(t *rapid.T, q question) {
			key := services.Key(&q.f)
			any := q.x.Any(0, key)
			decided := q.x.Decides(any)
			if q.sure {
				require.True(t, decided, "no peer can change it: %+v", q.f)
			}
			if decided {
				require.Equal(t, q.want, q.x.Verdict(any, 0), "decided: %+v", q.f)
				return
			}
			peer := q.x.Peer(0, q.class, key, q.multi)
			require.Equal(t, q.want, q.x.Verdict(any, peer), "%+v", q.f)
			hits := []services.Hit{9}
			q.x.Peers(0, []classes.Class{q.class}, []uint32{key}, q.multi, hits)
			require.Equal(t, peer, hits[0])
		}
		var old []question
		most := make([]int, len(is))
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			for i := range w.chains {
				c := &w.chains[i]
				rules := slices.Clone(c.Rules)
				for range r.IntN(4) {
					at := r.IntN(len(rules) + 1)
					switch r.IntN(8) {
					case 0:
						for range 20 {
							rules = append(rules, rule())
						}
					case 1, 2, 3:
						rules = slices.Insert(rules, at, rule())
					case 4, 5:
						rules = slices.Delete(rules, min(at, max(len(rules)-1, 0)), min(at+1, len(rules)))
					case 6:
						if at < len(rules) {
							rules[at] = rule()
						}
					default:
						rules = slices.Clone(rules[:at])
					}
				}
				*c = ir.Chain{Rules: rules, Default: sg.Action(r.IntN(2)), Reason: ir.ReasonNoRule}
				set.Update(is[i], c, brief(get))
			}
			for range r.IntN(6) {
				sel, a := ir.SelectorNum(1+r.IntN(6)), byte(r.IntN(16))
				if w.members[sel] == nil {
					w.members[sel] = map[byte]bool{}
				}
				n := 1
				if w.members[sel][a] {
					n = -1
				}
				w.members[sel][a] = n > 0
				space.Change(netip.PrefixFrom(address(a), 32), sel, n)
			}
			space.Settle()
			made, dropped := reg.Flush()
			set.Classes(0, made, dropped)
			set.Settle()
			m, multi := space.Map(), reg.Sets()
			for i := range w.chains {
				for a := range byte(16) {
					b := address(a).As4()
					class := m.Find(uint64(binary.BigEndian.Uint32(b[:])))
					for _, f := range []ir.Flow{
						{Protocol: 6, Port: uint16(r.IntN(6))}, {Protocol: 17, Port: uint16(r.IntN(6))},
						{Protocol: 6, NoPorts: true}, {Protocol: 47}, {Protocol: 1},
					} {
						f.Remote = address(a)
						q := question{is[i].Index(), class, multi, f, w.eval(&w.chains[i], a, f), w.sure(&w.chains[i], f)}
						ask(t, q)
						if r.IntN(40) == 0 {
							old = append(old, q)
						}
					}
				}
			}
			for i, c := range is {
				most[i] = max(most[i], len(c.rules))
			}
			audit(t, set, is, get, most)
			if set.perRule+set.free == 0 {
				require.Zero(t, is[0].sides[0].merged+is[1].sides[0].merged)
			}
		}
		for _, q := range old {
			ask(t, q)
		}
		for _, c := range is {
			set.Drop(c)
		}
		require.Zero(t, known(&set.users))
	})
}

// often checks a property in n times as many cases as rapid does by itself, which
// is 20 of a short run and 100 of a long one.
func often(t *testing.T, n int, property func(*rapid.T)) {
	for range n {
		rapid.Check(t, property)
	}
}
