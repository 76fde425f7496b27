package main

import (
	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// talk is a TCP connection that is opened from outside and stays open: its ends
// send a byte in turn, and acknowledge each other.
type talk struct {
	in   packet.Tuple // of the opener
	sent [2]uint32    // bytes, by who sends: the opener, the other end
	step int
	buf  []byte
}

// opening reports whether the next segment belongs to the handshake.
func (t *talk) opening() bool { return t.step < 3 }

// next sends the next segment and returns the verdict on it.
func (t *talk) next(p *enforce.Port) ir.Verdict {
	from := t.step % 2
	h := workload.Header{Flags: packet.ACK, Seq: 1 + t.sent[from], Ack: 1 + t.sent[1-from], Data: 1}
	switch t.step {
	case 0:
		h = workload.Header{Flags: packet.SYN, Seq: 0}
	case 1:
		h = workload.Header{Flags: packet.SYN | packet.ACK, Seq: 0, Ack: 1}
	default:
		t.sent[from]++
	}
	t.step++
	tuple, d := t.in, sg.Ingress
	if from == 1 {
		tuple, d = t.in.Reverse(), sg.Egress
	}
	t.buf = workload.AppendPacket(t.buf[:0], tuple, h)
	return p.Filter(d, t.buf)
}
