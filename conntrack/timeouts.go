package conntrack

import (
	"slices"
	"time"
)

// Timeouts are idle times, kept to within one tick of 1/16 second (Fragment is
// exact), and at most a year. A field that is zero or negative takes the default
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

// idleTicks are Timeouts as the packet path reads them: by the class of the
// connection and its status, in ticks.
type idleTicks struct {
	by          [classes][statusEnd]uint32
	established uint32 // of TCP, answered
	tcpUnacked  uint32 // picked up in the middle and not answered
	longest     uint32
}

func newIdleTicks(o Timeouts) (t idleTicks) {
	t = idleTicks{tcpUnacked: ticksOf(min(o.TCPUnacked, o.TCPEstablished))}
	for st, d := range map[Status]time.Duration{
		StatusSynSent: o.TCPSynSent, StatusSynSent2: o.TCPSynSent, StatusSynRecv: o.TCPSynRecv,
		StatusEstablished: o.TCPEstablished, StatusFinWait: o.TCPFinWait, StatusCloseWait: o.TCPCloseWait,
		StatusLastAck: o.TCPLastAck, StatusTimeWait: o.TCPTimeWait, StatusClose: o.TCPClose,
	} {
		t.by[ClassTCP][st] = ticksOf(d)
	}
	t.by[ClassUDP] = [statusEnd]uint32{StatusUnreplied: ticksOf(o.UDP), StatusAssured: ticksOf(o.UDPStream)}
	t.by[ClassICMP] = [statusEnd]uint32{StatusUnreplied: ticksOf(o.ICMP), StatusReplied: ticksOf(o.ICMP)}
	t.by[ClassOther] = [statusEnd]uint32{StatusUnreplied: ticksOf(o.Generic), StatusAssured: ticksOf(o.Generic)}
	t.established = t.by[ClassTCP][StatusEstablished]
	for _, c := range t.by {
		t.longest = max(t.longest, slices.Max(c[:]))
	}
	return t
}

// of returns the idle time that e is entitled to in its present state.
func (t *idleTicks) of(e *entry) uint32 {
	st := e.status()
	if st == StatusEstablished && e.flags&flagSeenReply == 0 {
		return t.tcpUnacked
	}
	return t.by[classOf(e.proto())][st]
}
