package tun

import (
	"sync"
	"sync/atomic"
	"time"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack/packet"
)

// Answers configure what the sender of a packet that goes no further is told.
// The zero value drops what the policy refuses in silence, and answers packets
// above the MTU.
type Answers struct {
	// Reject answers packets that the policy refuses: a TCP segment with a
	// reset (RFC 9293 3.10.7.1), anything else with an ICMP error saying
	// "administratively prohibited" (RFC 1812 5.2.7.1, RFC 4443 3.1).
	//
	// Only a refusal by a rule, by a platform rule or for want of a rule is
	// answered. A packet that is malformed, spoofed, fits no connection or
	// meets no policy is not: its sender may not be who it says it is, or the
	// refusal may be over in a moment. Nor is an answer sent to a reset, to an
	// ICMP error, to anything but a single host, or to a fragment (to its
	// first one: ICMP, but no reset).
	//
	// A packet whose checksum is wrong was damaged on its way, and is not
	// answered, unless checksums are not verified.
	//
	// When a policy change takes away the rule of a connection, whether anybody
	// is told depends on who speaks first. A packet of the side that opened the
	// connection is refused by the policy, and that side gets a reset. A packet
	// of the other side fits no connection any more: it is dropped in silence,
	// and so is everything after it, since the connection is forgotten. The
	// side that did not send is never told. Nobody is under sg.Cut, which
	// forgets the connection at once.
	Reject bool

	// Rate is how many answers of a kind (refusals; MTU) are sent per second;
	// default 1,000. Burst is how many may come at once; default 50. Both mirror
	// net.ipv4.icmp_msgs_per_sec and icmp_msgs_burst of Linux.
	Rate, Burst int

	// Now is the clock of the rate limit, read once per answer; default
	// time.Now.
	Now func() time.Time
}

// AnswerStats counts answers.
type AnswerStats struct {
	Sent            uint64 // on their way
	LimitedRefusals uint64 // to packets refused; not made, because of Answers.Rate
	LimitedTooBig   uint64 // to packets above the MTU; not made, likewise
	Lost            uint64 // made, but the device or the queue did not take them
}

// answerer makes answers into the caller's memory. It is safe for concurrent
// use.
type answerer struct {
	reject          bool
	now             func() time.Time
	refusals, sizes bucket
	sent, missed    atomic.Uint64
}

func newAnswerer(o Answers) *answerer {
	const rate, burst = 1000, 50
	if o.Rate <= 0 {
		o.Rate = rate
	}
	if o.Burst <= 0 {
		o.Burst = burst
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &answerer{reject: o.Reject, now: o.Now}
	for _, b := range []*bucket{&a.refusals, &a.sizes} {
		b.rate, b.burst, b.tokens = float64(o.Rate), float64(o.Burst), float64(o.Burst)
	}
	return a
}

func (a *answerer) stats() AnswerStats {
	return AnswerStats{Sent: a.sent.Load(), LimitedRefusals: a.refusals.limited.Load(), LimitedTooBig: a.sizes.limited.Load(), Lost: a.missed.Load()}
}

// done counts an answer that the device took, or did not.
func (a *answerer) done(err error) {
	if err != nil {
		a.missed.Add(1)
		return
	}
	a.sent.Add(1)
}

// refusal puts the answer to a refused packet into dst, which has room for
// maxAnswer bytes, and returns its length: 0 if there is none to give.
func (a *answerer) refusal(dst, pkt []byte, why ir.Reason) int {
	if !a.reject || !policySaidNo(why) {
		return 0
	}
	var p packet.Packet
	if packet.Decode(pkt, &p) != nil || !answerable(&p, false) {
		return 0
	}
	tcp := p.Tuple.Proto == packet.ProtoTCP
	if tcp && (p.Flags&packet.RST != 0) {
		return 0
	}
	if !a.refusals.take(a.now()) {
		return 0
	}
	if tcp && !p.Fragment {
		return reset(dst, pkt, &p)
	}
	const prohibited4, prohibited6 = 13, 1
	if p.Tuple.Family == 4 {
		return icmp4(dst, pkt, prohibited4, 0)
	}
	return icmp6(dst, pkt, 1, prohibited6, 0)
}

// tooBig puts the answer to a packet that a link of that MTU does not take
// into dst, likewise.
func (a *answerer) tooBig(dst, pkt []byte, p *packet.Packet, mtu int) int {
	if !answerable(p, p.Tuple.Family == 6) || !a.sizes.take(a.now()) {
		return 0
	}
	if p.Tuple.Family == 4 {
		const fragmentationNeeded = 4
		return icmp4(dst, pkt, fragmentationNeeded, uint16(mtu))
	}
	const packetTooBig = 2
	return icmp6(dst, pkt, packetTooBig, 0, uint32(mtu))
}

// policySaidNo reports whether a packet was refused by what somebody wrote
// down, or did not.
func policySaidNo(why ir.Reason) bool {
	switch why {
	case ir.ReasonRule, ir.ReasonNoRule, ir.ReasonUnattached, ir.ReasonEmptyDirection, ir.ReasonPlatform:
		return true
	}
	return false
}

// bucket is a token bucket.
type bucket struct {
	rate, burst float64 // per second, at most
	limited     atomic.Uint64

	mu     sync.Mutex
	tokens float64
	last   time.Time // of the last take; zero before the first
}

// take takes a token, or counts that there is none.
func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.IsZero() {
		b.last = now
	}
	if d := now.Sub(b.last); d > 0 { // a clock that goes back gives nothing
		b.tokens = min(b.burst, b.tokens+d.Seconds()*b.rate)
		b.last = now
	}
	if b.tokens < 1 {
		b.limited.Add(1)
		return false
	}
	b.tokens--
	return true
}
