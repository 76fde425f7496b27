package enforce

import (
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// batch is the room that FilterBatch works in.
type batch struct {
	pkts   [conntrack.BatchSize]packet.Packet
	why    [conntrack.BatchSize]ir.Reason
	looked conntrack.Batch
}

// filterSome is FilterWith for pkts, one after the other, and counts what it
// accepted. There are at most conntrack.BatchSize of them. All are decoded and
// their connections asked for before the first is decided.
func (p *Port) filterSome(st *portState, now conntrack.Time, c Checksums, d sg.Direction, pkts [][]byte, out []ir.Verdict) (accepted int) {
	w := p.engine.batches.Get().(*batch)
	for i, b := range pkts {
		w.why[i] = p.admit(st, c, d, b, &w.pkts[i])
	}
	var conn conntrack.Conn
	p.engine.table.Look(&w.looked, st.zone, side(d), w.pkts[:len(pkts)])
	for i, b := range pkts {
		v, pkt := &out[i], &w.pkts[i]
		switch {
		case w.why[i] != ir.ReasonNone:
			*v = p.drop(st, now, d, pkt, ir.Verdict{Reason: w.why[i]})
			continue
		case pkt.Fragment:
			*v = p.fragment(st, now, d, pkt, b)
		default:
			p.engine.table.TrackAt(now, &w.looked, i, pkt, &conn)
			switch {
			case st.settled(&conn, pkt):
				*v = ir.Verdict{Action: sg.Accept, Reason: ir.ReasonEstablished, Rule: ir.RuleNum(conn.Mark)}
			case conn.State == conntrack.New && !redirects(pkt):
				*v = p.fresh(st, now, d, pkt, b)
			default:
				*v = p.pass(st, now, d, pkt, b, conn)
			}
		}
		if v.Action == sg.Accept {
			accepted++
		}
	}
	p.engine.batches.Put(w)
	return accepted
}
