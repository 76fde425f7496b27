package enforce

import (
	"math/bits"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/sg"
)

// batch is the room that FilterBatch works in.
type batch struct {
	looked conntrack.Batch
	ahead  [conntrack.BatchSize]uint8 // 1 + the place in flows and rules; 0 is none
	flows  [conntrack.BatchSize]compile.Words
	rules  [conntrack.BatchSize]ir.Verdict
}

// fewAhead is how many packets at least are looked at together: what that costs to
// begin with is worth so many.
const fewAhead = 4

// filterSome is FilterWith for pkts, one after the other, and counts what it
// accepted. There are at most conntrack.BatchSize of them. The connections of all
// are asked for before the first is decided, and so is what the rules say of
// packets that have none: it does not depend on what comes before, only whether it
// is asked for does.
func (p *Port) filterSome(st *portState, now conntrack.Time, c Checksums, d sg.Direction, pkts [][]byte, out []ir.Verdict) (accepted int) {
	w := p.engine.batches.Get().(*batch)
	l := &st.lanes[d&3]
	l.Look(now, &w.looked, pkts)
	ahead := w.match(st, d, pkts)
	check, quiet := c != ChecksumsUnknown || st.guarded, p.engine.opts.OnEvent == nil
	refused, why := uint64(0), ir.ReasonNone // not yet in drops: cores that share a port meet there
	for i, b := range pkts {
		v, is, mark := &out[i], conntrack.Invalid, conntrack.Mark(0)
		if !check || st.surely(c, d, b) {
			is, mark = l.TrackAt(&w.looked, i)
		}
		switch {
		case is == conntrack.Established:
			*v = ir.Verdict{Action: sg.Accept, Reason: ir.ReasonEstablished, Rule: ir.RuleNum(mark)}
		case is == conntrack.New:
			if ahead && w.ahead[i] != 0 {
				*v = w.rules[w.ahead[i]-1]
			} else {
				*v = st.plain(d, b)
			}
			switch {
			case quiet && opens(v) && l.OpenAt(&w.looked, i, b, conntrack.Mark(v.Rule)) == conntrack.New:
				st.opened(v.Rule)
			case quiet && opens(v):
				*v = p.decoded(st, now, d, b, *v, conntrack.Invalid)
			case v.Action != sg.Drop || v.Rule != 0 || !quiet:
				*v = p.admitted(st, now, d, b, *v)
			case v.Reason == why:
				refused++
			default:
				p.drops[why].Add(refused)
				refused, why = 1, v.Reason
			}
		default:
			*v = p.filter(st, now, c, d, b)
		}
		if v.Action == sg.Accept {
			accepted++
		}
	}
	if refused != 0 {
		p.drops[why].Add(refused)
	}
	p.engine.batches.Put(w)
	return accepted
}

// match asks the rules about the packets that have no connection yet, and the
// memory for the connections of those that they accept. It reports false if they
// are too few for that. Where rules name many addresses, they are asked together.
func (w *batch) match(st *portState, d sg.Direction, pkts [][]byte) bool {
	n := 0
	for i := range pkts {
		w.ahead[i] = 0
		if w.looked.Absent(i) {
			n++
			w.ahead[i] = uint8(n)
		}
	}
	if n < fewAhead {
		return false
	}
	wide := st.wide[d&3]
	for i, b := range pkts {
		switch k := w.ahead[i]; {
		case k == 0:
		case wide:
			w.flows[k-1] = plainWords(b, d)
		default:
			w.rules[k-1] = st.plain(d, b)
		}
	}
	if wide {
		st.chains[d&3].MatchWords(w.flows[:n], w.rules[:n])
	}
	accepted := uint64(0)
	for i := range pkts {
		if k := w.ahead[i]; k != 0 && opens(&w.rules[k-1]) {
			accepted |= 1 << i
		}
	}
	if bits.OnesCount64(accepted) >= fewAhead {
		st.lanes[d&3].Stage(&w.looked, accepted)
	}
	return true
}
