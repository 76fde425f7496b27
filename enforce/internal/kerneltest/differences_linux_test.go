package kerneltest

import (
	"bytes"
	"strings"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
)

// difference is a way in which the engine and Linux 6.18 differ, and how it is
// known again. Names begin with the id of the threat catalogue, where it has
// one. OPEN-n is a difference that should not be.
type difference struct {
	name string
	is   func(l *look) bool
}

// differences are all of them but those of TCP, which reason names, and their
// consequences.
var differences = []difference{
	// What the engine refuses as malformed and Linux forwards.
	{"EXT-02: more than 8 extension headers", malformed(func(l *look) bool {
		n := 0
		l.has(func(uint8, []byte, int) bool { n++; return false })
		return n > 8
	})},
	{"EXT-03: a routing header of type 0", refused(ir.ReasonRoutingHeader, func(l *look) bool {
		return l.has(func(kind uint8, h []byte, _ int) bool { return kind == 43 && h[2] == 0 })
	})},
	{"HDR-06: a routing header with segments left: who knows where it ends", refused(ir.ReasonSourceRoute, func(l *look) bool {
		return l.has(func(kind uint8, h []byte, _ int) bool { return kind == 43 && h[3] != 0 })
	})},
	{"EXT-04: hop-by-hop options that are not first", malformed(func(l *look) bool {
		return l.has(func(kind uint8, _ []byte, at int) bool { return kind == 0 && at > 40 })
	})},
	{"EXT-08: a jumbo option", malformed(func(l *look) bool { return l.has(jumbo) })},
	{"FRAG-11: two fragment headers", refused(ir.ReasonFragmentHeader, func(l *look) bool {
		n := 0
		l.has(func(kind uint8, _ []byte, _ int) bool { n += btoi(kind == 44); return false })
		return n > 1
	})},
	{"HDR-07: options that run past their header; Linux does not read destination options of others", malformed(func(l *look) bool {
		return l.has(brokenOptions)
	})},
	{"FRAG-01, FRAG-12: a first fragment without the whole header; Linux reassembles", func(l *look) bool {
		return l.stricter && l.fragment() && l.engine.Reason == ir.ReasonMalformed && l.err == packet.ErrTinyFragment && l.done[l.k] >= 0
	}},
	{"HDR-03: an extension header that ends behind the packet", malformed(func(l *look) bool { return l.has(runsPast) })},
	{"FRAG-09, FRAG-10: an IPv6 fragment that is not the last, and empty or no multiple of 8 bytes long, is passed on as it is (nf_conntrack_reasm.c: nf_ct_frag6_gather)", func(l *look) bool {
		_, p := nameOf(l.b)
		return l.stricter && l.six() && l.engine.Reason == ir.ReasonMalformed && p.more && (len(p.data)%8 != 0 || len(p.data) == 0)
	}},

	// Fragments.
	{"FRAG-13: a whole packet with a fragment header stands alone (RFC 6946); Linux takes it for a piece of what has its number", func(l *look) bool {
		return !l.stricter && l.atomic() && len(l.siblings()) > 0
	}},
	{"FRAG-04: a duplicate passes; Linux keeps one copy", func(l *look) bool {
		if l.stricter || !l.fragment() {
			return false
		}
		for _, i := range l.siblings() {
			if i < l.k && bytes.Equal(l.tr.steps[i].b, l.tr.steps[l.k].b) {
				return true
			}
		}
		return false
	}},
	{"FRAG: passes at once what Linux holds; its datagram is never complete, for it lacks a piece or contradicts itself", func(l *look) bool {
		return !l.stricter && l.fragment() && l.done[l.k] < 0
	}},
	{"FRAG-06: a piece that comes before the first one is not held", func(l *look) bool {
		if !l.stricter || l.engine.Reason != ir.ReasonFragment || l.done[l.k] < 0 {
			return false
		}
		_, p := nameOf(l.b)
		for _, i := range l.siblings() {
			if _, q := nameOf(l.tr.steps[i].b); i < l.k && q.at == 0 {
				return false
			}
		}
		return p.at > 0
	}},
	{"FRAG-03: a datagram that contradicted itself stays dead; Linux begins it anew", func(l *look) bool {
		if !l.stricter || l.engine.Reason != ir.ReasonFragment || l.done[l.k] < 0 {
			return false
		}
		for _, i := range l.siblings() {
			if i < l.k && l.done[i] != l.done[l.k] {
				return true
			}
		}
		return false
	}},

	{"FRAG: the first piece does not show that UDP is longer than its datagram", func(l *look) bool {
		d := l.l4()
		return !l.stricter && l.p.Fragment && l.p.Tuple.Proto == packet.ProtoUDP && len(d) >= 8 && word16(d[4:]) > l.length()
	}},

	// What Linux refuses as a router.
	{"router: Linux refuses hop-by-hop options that it does not know, and much padding (exthdrs.c: ip6_parse_tlv)", func(l *look) bool {
		return !l.stricter && l.has(oddHopByHop)
	}},

	// ICMP.
	{"ICMP-12: a message that is neither query, answer nor error is judged by the rules; Linux tracks queries only (icmp_new)", func(l *look) bool {
		return !l.stricter && l.engine.Reason == ir.ReasonRule && l.p.Tuple.Proto == packet.ProtoICMP && !l.p.IsICMPQuery() && !l.p.IsICMPError()
	}},
	{"ICMP-12: an informational message of ICMPv6 that is no echo is judged by the rules; Linux knows those of discovery only (icmpv6_new)", func(l *look) bool {
		return !l.stricter && l.engine.Reason == ir.ReasonRule && l.p.Tuple.Proto == packet.ProtoICMPv6 && l.p.ICMPType > 129 && l.p.ICMPType != 137
	}},
	{"INF-01: neighbour discovery from off the link (RFC 4861)", refused(ir.ReasonOffLink, func(l *look) bool {
		return l.p.Tuple.Proto == packet.ProtoICMPv6 && 133 <= l.p.ICMPType && l.p.ICMPType <= 136 && l.p.HopLimit != 255
	})},
	{"INF-01: neighbour discovery in fragments (RFC 6980)", refused(ir.ReasonFragmentedDiscovery, func(l *look) bool {
		return l.p.Tuple.Proto == packet.ProtoICMPv6 && 133 <= l.p.ICMPType && l.p.ICMPType <= 136 && l.p.Fragment
	})},
	{"ICMP-12: an error of ICMPv6 of a type that nobody has defined (RFC 4443 2.4); to Linux it is about what it quotes", refused(ir.ReasonICMPType, func(l *look) bool {
		n, proto := l.quoted()
		return l.p.Tuple.Proto == packet.ProtoICMPv6 && (l.p.ICMPType == 0 || 4 < l.p.ICMPType && l.p.ICMPType < 128) && n >= 0 && proto != 0
	})},
	{"ICMP-15: an error must quote a number that was in flight (RFC 5927 4.1)", func(l *look) bool {
		return l.unrelated() && l.p.Inner.Tuple.Proto == packet.ProtoTCP && l.entries[l.k] != nil && l.quotes() == quotesNothing
	}},
	{"ICMP-15: an error about what was sent before the connection began anew with other numbers (TCP-19, TCP-25)", func(l *look) bool {
		return l.unrelated() && l.p.Inner.Tuple.Proto == packet.ProtoTCP && l.entries[l.k] != nil && l.quotes() == quotesBefore
	}},
	{"ICMP-15: an error about a segment that did not move the windows, but was let through for its receiver to judge", func(l *look) bool {
		return l.unrelated() && l.p.Inner.Tuple.Proto == packet.ProtoTCP && l.entries[l.k] != nil && l.quotes() == quotesPassed
	}},
	{"ICMP-06: an error must quote 64 bits of the transport header (RFC 792); Linux takes 32", func(l *look) bool {
		n, proto := l.quoted()
		return l.unrelated() && 4 <= n && n < 8 && proto != 0
	}},
	{"ICMP-12: node information (RFC 4620) is judged by the rules; Linux tracks its queries and answers (icmpv6_new)", func(l *look) bool {
		typ := l.p.ICMPType
		if n, proto := l.quoted(); proto == packet.ProtoICMPv6 && n > 0 {
			d := l.l4()
			typ = d[len(d)-n]
		}
		return l.stricter && l.p.Tuple.Proto == packet.ProtoICMPv6 && (typ == 139 || typ == 140)
	}},
	{"ICMP-03: an error about a reply that was never sent", func(l *look) bool {
		e := l.entries[l.k]
		return l.unrelated() && e != nil && !e.SeenReply && e.Orig.Reverse() == l.p.Inner.Tuple
	}},
	{"ICMP-06: an error must quote a packet that can be; Linux reads what stands where a header would have it", func(l *look) bool {
		return l.unrelated() && l.p.Inner.Tuple.Family == 0 && l.brokenQuote()
	}},
	{"KEEP: once allowed is allowed; to Linux a flow is new until it was answered", func(l *look) bool {
		e := l.entries[l.k]
		return !l.stricter && l.tr.swap <= l.k && l.engine.Reason == ir.ReasonEstablished && e != nil && !e.SeenReply && (e.OrigSide == conntrack.Remote) == l.in
	}},

	// Other protocols.
	{"UDP-05: the coverage of UDP-Lite is not looked at (nf_conntrack_proto_udp.c: nf_conntrack_udplite_packet)", func(l *look) bool {
		d := l.l4()
		return !l.stricter && l.p.Tuple.Proto == 136 && (len(d) < 8 || word16(d[4:]) != 0 && (word16(d[4:]) < 8 || word16(d[4:]) > len(d)))
	}},
	{"UDP-05: UDP-Lite has no ports here; Linux tells its flows apart by them", func(l *look) bool {
		_, proto := l.quoted()
		return !l.stricter && (l.p.Tuple.Proto == 136 && l.engine.Reason == ir.ReasonEstablished || proto == 136 && l.engine.Reason == ir.ReasonRelated)
	}},
	{"UDP-07: only an INIT of SCTP has no verification tag, and it has none (RFC 9260 8.5)", malformed(func(l *look) bool {
		d := l.sctp()
		return len(d) > 12 && (d[4]|d[5]|d[6]|d[7] == 0) != (d[12] == 1)
	})},
	{"UDP-07: chunks of SCTP are not looked at (nf_conntrack_proto_sctp.c)", func(l *look) bool {
		d := l.l4() // an INIT that opens is judged alike
		init := l.entries[l.k] == nil && !l.p.Fragment && len(d) >= 32 && d[12] == 1 && word16(d[14:]) == len(d)-12
		return !l.stricter && l.p.Tuple.Proto == packet.ProtoSCTP && !init
	}},
	{"GRE: Linux reads the header of version 1 (nf_conntrack_proto_gre.c: gre_pkt_to_tuple)", func(l *look) bool {
		d := l.l4()
		if n, proto := l.quoted(); proto == 47 && n > 1 {
			d = d[len(d)-n:]
		} else if l.p.Tuple.Proto != 47 {
			return false
		}
		return !l.stricter && len(d) > 1 && d[1]&7 == 1
	}},

	{"EXT-05: no-next-header is a protocol to a rule for all; Linux cannot track it (nf_conntrack_core.c: get_l4proto)", func(l *look) bool {
		return !l.stricter && l.err == nil && l.p.Tuple.Proto == 59
	}},

	{"EXT-07: what is behind an authentication header counts; nft takes the header for the protocol (nf_tables_ipv6.h: nft_set_pktinfo_ipv6)", func(l *look) bool {
		e := l.entries[l.k]
		return !l.stricter && (l.engine.Reason == ir.ReasonRule || l.engine.Reason == ir.ReasonEstablished && e != nil && (!e.SeenReply || hasFragment(l.b))) &&
			l.has(func(kind uint8, _ []byte, _ int) bool { return kind == 51 })
	}},

	// TCP, beside what reason names.
	{"a SYN after a reset opens a new connection", func(l *look) bool {
		e := l.entries[l.k]
		return !l.stricter && l.p.Tuple.Proto == packet.ProtoTCP && l.engine.Reason == ir.ReasonRule && e != nil && e.Status == conntrack.StatusClose &&
			l.p.Flags&(packet.SYN|packet.ACK|packet.RST|packet.FIN) == packet.SYN
	}},
	{"a RST that acknowledges the SYN passes, whatever else it says (RFC 9293 3.10.7.3); Linux looks at its SACK blocks", func(l *look) bool {
		e := l.entries[l.k]
		return !l.stricter && l.p.Tuple.Proto == packet.ProtoTCP && e != nil && e.Status == conntrack.StatusSynSent && (e.OrigSide == conntrack.Remote) != l.in &&
			l.p.Flags&(packet.RST|packet.ACK) == packet.RST|packet.ACK && l.p.SACK != l.p.Ack
	}},
	{"a RST answers an ACK of the other side; to Linux also one of its own side, and without the flag", func(l *look) bool {
		e := l.entries[l.k]
		return l.stricter && l.p.Tuple.Proto == packet.ProtoTCP && l.engine.Reason == ir.ReasonInvalidState && e != nil &&
			l.p.Flags&packet.RST != 0 && l.acknowledges()
	}},
	{"TCP-25: a SYN inside a connection is judged by the rules of today", func(l *look) bool {
		e := l.entries[l.k]
		return l.stricter && l.p.Tuple.Proto == packet.ProtoTCP && e != nil && l.p.Flags&(packet.SYN|packet.ACK|packet.RST|packet.FIN) == packet.SYN &&
			(l.engine.Reason == ir.ReasonNoRule || l.engine.Reason == ir.ReasonEmptyDirection) && (e.OrigSide == conntrack.Remote) == l.in
	}},
}

// consequences are those of an earlier packet, for TCP that has no other name.
var consequences = []difference{
	{"TCP-19: another attempt without options offers none; Linux keeps what the one before offered (nf_conntrack_proto_tcp.c: tcp_options)", func(l *look) bool {
		return l.plainRetry()
	}},
	{"router: Linux tracks an IPv4 packet before it reads its options, and then refuses it", func(l *look) bool {
		return l.routedBefore()
	}},
	{"a RST that acknowledges an ACK of its own side leaves its numbers; Linux takes it for an answer and leaves none", func(l *look) bool {
		e := l.entries[l.k]
		return l.p.Tuple.Proto == packet.ProtoTCP && e != nil && e.Status == conntrack.StatusClose && l.ownReset()
	}},
	{"SEM-10: a SYN that the rules of today refuse leaves no trace; Linux tracks before it filters", func(l *look) bool {
		return l.p.Tuple.Proto == packet.ProtoTCP && l.refusedSyn()
	}},
	{"FRAG: of a fragmented segment the length is not known at its first piece", func(l *look) bool {
		return l.p.Fragment || l.fragmentedBefore()
	}},
}

func malformed(is func(*look) bool) func(*look) bool { return refused(ir.ReasonMalformed, is) }

// refused is of what the engine alone refuses, for that reason.
func refused(why ir.Reason, is func(*look) bool) func(*look) bool {
	return func(l *look) bool { return l.stricter && l.engine.Reason == why && is(l) }
}

// quoted returns how many bytes behind the IP headers an ICMP error quotes, -1
// if none, and of which protocol.
func (l *look) quoted() (n int, proto uint8) {
	d := l.l4()
	if len(d) < 8 {
		return -1, 0
	}
	switch q := d[8:]; {
	case l.p.Tuple.Proto == packet.ProtoICMP && len(q) >= 20 && len(q) >= int(q[0]&15)*4:
		return len(q) - int(q[0]&15)*4, q[9]
	case l.p.Tuple.Proto == packet.ProtoICMPv6 && len(q) >= 40:
		return len(q) - 40, q[6]
	}
	return -1, 0
}

// name returns the name of a difference, "" if it has none.
func (l *look) name() string {
	for _, d := range differences {
		if d.is(l) {
			return d.name
		}
	}
	if !l.isTCP() {
		return ""
	}
	if l.err == nil && l.p.L4 != 0 {
		if name := l.tcp(); name != "" {
			return name
		}
	}
	for _, d := range consequences {
		if d.is(l) {
			return d.name
		}
	}
	return ""
}

// open reports whether a name is of a difference that should not be.
func open(name string) bool { return strings.HasPrefix(name, "OPEN-") }
