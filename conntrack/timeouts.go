package conntrack

import (
	"math"
	"time"

	"example.com/secgroup/conntrack/packet"
)

// Timeouts are idle times. A field that is zero or negative takes the default
// named beside it, which is Linux's; the name after it is the kernel's sysctl
// (below net.netfilter where no other path is given).
type Timeouts struct {
	TCPSynSent     time.Duration // 120s, nf_conntrack_tcp_timeout_syn_sent; also both SYNs crossing
	TCPSynRecv     time.Duration // 60s, nf_conntrack_tcp_timeout_syn_recv
	TCPEstablished time.Duration // 5 days, nf_conntrack_tcp_timeout_established
	TCPFinWait     time.Duration // 120s, nf_conntrack_tcp_timeout_fin_wait
	TCPCloseWait   time.Duration // 60s, nf_conntrack_tcp_timeout_close_wait
	TCPLastAck     time.Duration // 30s, nf_conntrack_tcp_timeout_last_ack
	TCPTimeWait    time.Duration // 120s, nf_conntrack_tcp_timeout_time_wait
	TCPClose       time.Duration // 10s, nf_conntrack_tcp_timeout_close; from the first RST, not extended
	TCPUnacked     time.Duration // 300s, nf_conntrack_tcp_timeout_unacknowledged; picked up by TCPLoose, not yet answered
	UDP            time.Duration // 30s, nf_conntrack_udp_timeout; until a reply is seen
	UDPStream      time.Duration // 120s, nf_conntrack_udp_timeout_stream; from the first reply on
	ICMP           time.Duration // 30s, nf_conntrack_icmp_timeout and nf_conntrack_icmpv6_timeout
	Generic        time.Duration // 600s, nf_conntrack_generictimeout; every other protocol
	Fragment       time.Duration // 30s, net.ipv4.ipfrag_time; from a datagram's first fragment, not extended
}

// withDefaults returns o with its zero fields filled in.
func (o Timeouts) withDefaults() Timeouts {
	for _, f := range []struct {
		field *time.Duration
		linux time.Duration
	}{
		{&o.TCPSynSent, 120 * time.Second},
		{&o.TCPSynRecv, 60 * time.Second},
		{&o.TCPEstablished, 5 * 24 * time.Hour},
		{&o.TCPFinWait, 120 * time.Second},
		{&o.TCPCloseWait, 60 * time.Second},
		{&o.TCPLastAck, 30 * time.Second},
		{&o.TCPTimeWait, 120 * time.Second},
		{&o.TCPClose, 10 * time.Second},
		{&o.TCPUnacked, 300 * time.Second},
		{&o.UDP, 30 * time.Second},
		{&o.UDPStream, 120 * time.Second},
		{&o.ICMP, 30 * time.Second},
		{&o.Generic, 600 * time.Second},
		{&o.Fragment, 30 * time.Second},
	} {
		if *f.field <= 0 {
			*f.field = f.linux
		}
	}
	return o
}

// idleTimes is Timeouts in the form that the packet path reads.
type idleTimes struct {
	tcp                           [statusEnd]time.Duration // by the status of a TCP connection
	tcpUnacked                    time.Duration
	udp, udpStream, icmp, generic time.Duration
}

func newIdleTimes(o Timeouts) idleTimes {
	t := idleTimes{
		tcpUnacked: min(o.TCPUnacked, o.TCPEstablished),
		udp:        o.UDP, udpStream: o.UDPStream, icmp: o.ICMP, generic: o.Generic,
	}
	t.tcp[StatusSynSent] = o.TCPSynSent
	t.tcp[StatusSynSent2] = o.TCPSynSent
	t.tcp[StatusSynRecv] = o.TCPSynRecv
	t.tcp[StatusEstablished] = o.TCPEstablished
	t.tcp[StatusFinWait] = o.TCPFinWait
	t.tcp[StatusCloseWait] = o.TCPCloseWait
	t.tcp[StatusLastAck] = o.TCPLastAck
	t.tcp[StatusTimeWait] = o.TCPTimeWait
	t.tcp[StatusClose] = o.TCPClose
	return t
}

// of returns the idle time that e is entitled to in its present state.
func (t *idleTimes) of(e *entry) time.Duration {
	switch e.proto {
	case packet.ProtoTCP:
		if e.status == StatusEstablished && e.flags&flagSeenReply == 0 {
			return t.tcpUnacked
		}
		return t.tcp[e.status]
	case packet.ProtoUDP:
		if e.flags&flagSeenReply == 0 {
			return t.udp
		}
		return t.udpStream
	case packet.ProtoICMP, packet.ProtoICMPv6:
		return t.icmp
	}
	return t.generic
}

// maxStall is how far the caller's clock may fall behind the latest reading
// before the table takes it for a step and follows. Below it a reading is taken
// for a late one: workers that share a table read their clocks in no order, and
// following each of them would make time run fast.
const maxStall = Time(time.Minute)

// clock turns the caller's readings into a time that never runs backwards. It
// is guarded by the lock of what it belongs to.
type clock struct {
	last   Time // the latest time, on the table's own scale
	offset Time // own scale minus the caller's
}

// at returns the time of the reading now.
func (c *clock) at(now Time) Time {
	own := now + c.offset
	if own > c.last {
		c.last = own
		return own
	}
	if c.last-own > maxStall {
		c.offset += c.last - own
	}
	return c.last
}

// caller returns own in the caller's scale.
func (c *clock) caller(own Time) Time { return own - c.offset }

// after returns t plus d, at most the largest Time.
func (t Time) after(d time.Duration) Time {
	if sum := t + Time(d); sum >= t {
		return sum
	}
	return math.MaxInt64
}
