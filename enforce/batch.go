package enforce

import (
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/sg"
)

// batch is the room that FilterBatch works in.
type batch struct{ looked conntrack.Batch }

// filterSome is FilterWith for pkts, one after the other, and counts what it
// accepted. There are at most conntrack.BatchSize of them. The connections of all
// are asked for before the first is decided.
func (p *Port) filterSome(st *portState, now conntrack.Time, c Checksums, d sg.Direction, pkts [][]byte, out []ir.Verdict) (accepted int) {
	w := p.engine.batches.Get().(*batch)
	l := &st.lanes[d&3]
	l.Look(&w.looked, pkts)
	check := c != ChecksumsUnknown || st.guarded
	for i, b := range pkts {
		v, is, mark := &out[i], conntrack.Invalid, conntrack.Mark(0)
		if !check || st.surely(c, d, b) {
			is, mark = l.TrackAt(now, &w.looked, i)
		}
		switch is {
		case conntrack.Established:
			*v = ir.Verdict{Action: sg.Accept, Reason: ir.ReasonEstablished, Rule: ir.RuleNum(mark)}
		case conntrack.New:
			*v = p.newcomer(st, now, d, b)
		default:
			*v = p.filter(st, now, c, d, b)
		}
		if v.Action == sg.Accept {
			accepted++
		}
	}
	p.engine.batches.Put(w)
	return accepted
}
