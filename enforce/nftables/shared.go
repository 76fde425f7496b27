package nftables

import (
	"fmt"
	"slices"

	"example.com/secgroup/sg"
)

// The mark of a connection has two halves, one for each end: the low one for
// the interface that the first packet came from (src), the high one for the
// interface it went to (dst). A half is zero as long as its interface has not
// allowed the connection, else the epoch of the policy that allowed it, from 1,
// and bit 15 where it was a packet of the reply direction that was allowed.
const (
	maxEpoch   = 0x7fff
	halfMask   = 0xffff
	replyBit   = 0x8000
	epochMask  = 0x7fff
	dstShift   = 16
	markPrefix = "ct mark & "
)

// Conditions on packets and marks.
const (
	// notOpening is a TCP segment that opens no connection.
	notOpening = "tcp flags & (fin | syn | rst | ack) != syn"

	// opening is one that does.
	opening = "tcp flags & (fin | syn | rst | ack) == syn"

	// impossibleFlags are flags that no implementation sends: the valid ones
	// are those of the kernel (nf_conntrack_proto_tcp.c, tcp_valid_flags).
	impossibleFlags = "meta l4proto tcp tcp flags & (fin | syn | rst | ack | urg) != { syn, syn | urg, syn | ack, rst, rst | ack, fin | ack, fin | ack | urg, ack, ack | urg }"

	// The connection was allowed by its first packet, in whatever epoch.
	srcByOriginal = "ct mark & 0x00008000 == 0 ct mark & 0x00007fff != 0"
	dstByOriginal = "ct mark & 0x80000000 == 0 ct mark & 0x7fff0000 != 0"

	// It was allowed by a packet of the reply direction.
	srcByReply = "ct mark & 0x00008000 != 0"
	dstByReply = "ct mark & 0x80000000 != 0"

	// An ICMP error about a connection, and any other packet.
	isError = "ct state related"
	noError = "ct state != related"

	// Of errors: it is about an answer that was never sent.
	unanswered = "ct direction original ct status & seen-reply == 0"
)

// epochChains are the chains that know the epoch, those of epochMarks, and
// those that use them. A change of epoch changes no rule that has a verdict:
// for such a rule the kernel walks the whole table, to look for loops.
func epochChains(epoch uint16, keep bool) []chain {
	current := func(shift int) string {
		if keep { // once allowed is allowed
			return fmt.Sprintf("ct mark & 0x%08x != 0 accept", uint32(epochMask)<<shift)
		}
		return fmt.Sprintf("ct mark & 0x%08x @%s accept", uint32(epochMask)<<shift, epochSetName)
	}
	out := []chain{
		{name: "src_current", rules: []string{current(0)}},
		{name: "dst_current", rules: []string{current(dstShift)}},
	}
	marks := epochMarks(epoch)
	for i, name := range epochMarkNames() {
		if i < 2 { // of connections judged again by their first packet
			out = append(out, chain{name: "stamp_" + name, rules: []string{"jump mark_" + name, "accept"}})
		}
		out = append(out, chain{name: "mark_" + name, rules: []string{fmt.Sprintf("ct mark set ct mark & 0x%08x | 0x%08x", marks[i].keep, marks[i].set)}})
	}
	return out
}

// sharedChains are the chains that every policy uses.
func sharedChains(o *Options) []chain {
	refuse := []string{"drop"}
	if o.Reject {
		refuse = []string{"meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"}
	}
	allow := func(original, reply string) []string {
		return []string{"ct direction original jump mark_" + original, "ct direction reply jump mark_" + reply, "accept"}
	}
	return []chain{
		{name: "known_from", comment: "let through what belongs to an allowed connection", rules: []string{
			"ct direction original " + opening + " return",
			"ct direction original jump src_current",
			"ct direction reply jump dst_current",
		}},
		{name: "known_to", rules: []string{
			"ct direction original " + opening + " return",
			"ct direction original jump dst_current",
			"ct direction reply jump src_current",
		}},
		{name: "forget_from", comment: "the connection is no licence any more", rules: []string{
			opening + " return",
			"ct direction original ct mark set ct mark & 0xffff0000",
			"ct direction reply ct mark set ct mark & 0x0000ffff",
		}},
		{name: "forget_to", rules: []string{
			opening + " return",
			"ct direction original ct mark set ct mark & 0x0000ffff",
			"ct direction reply ct mark set ct mark & 0xffff0000",
		}},
		{name: "allow_egress", rules: append([]string{"fib saddr . iif oif missing jump untied"}, allow("src", "dst_reply")...)},
		{name: "allow_ingress", rules: allow("dst", "src_reply")},
		{name: "untied", comment: "whose address it is nobody knows: its connections are no licence", rules: []string{
			"iifname . ip saddr @own_v4 return",
			"iifname . ip6 saddr @own_v6 return",
			"accept",
		}},
		{name: "refuse", comment: "refused by policy", rules: refuse},
		{name: "discard", comment: "invalid or spoofed", rules: []string{"drop"}},
		{name: "guard_from", comment: "an interface sends from its own addresses", rules: []string{
			"iifname . ip saddr @own_v4 return",
			"iifname . ip6 saddr @own_v6 return",
			"ip saddr 0.0.0.0 return",
			"ip6 saddr :: return",
			"ip6 saddr fe80::/10 return",
			"goto discard",
		}},
		{name: "guard_to", comment: "an interface gets what is sent to its own addresses, and not from them", rules: []string{
			"oifname . ip saddr @home_v4 goto discard",
			"oifname . ip6 saddr @home_v6 goto discard",
			"oifname . ip daddr @own_v4 return",
			"oifname . ip6 daddr @own_v6 return",
			"ip daddr { 224.0.0.0/4, 255.255.255.255 } return",
			"ip6 daddr { fe80::/10, ff00::/8 } return",
			"goto discard",
		}},
	}
}

// baseChains are where the kernel enters the table.
func baseChains(o *Options) []chain {
	protect := func(field string) (out []string) {
		for _, name := range o.Protect {
			out = append(out, field+" "+`"`+name+`" goto discard`)
		}
		return out
	}
	to := func(m string, first ...string) []string {
		return slices.Concat([]string{"oifname @guarded jump guard_to"}, first, []string{"oifname vmap @" + m}, protect("oifname"))
	}
	var answers []string // of this host to what it refuses
	if o.Reject {
		answers = []string{
			isError + " tcp flags & (syn | rst) == rst accept",
			isError + " icmp type . icmp code { 3 . 13 } accept",
			isError + " icmpv6 type . icmpv6 code { 1 . 1 } accept",
		}
	}
	return []chain{
		{name: "zone", comment: "source guard, and one conntrack zone per VPC: before fragments are put together and connections looked up",
			hook: "type filter hook prerouting priority -450; policy accept;", rules: []string{
				"iifname @guarded jump guard_from",
				"iifname vmap @zones",
				"fib daddr oifname vmap @zones_by_route",
			}},
		{name: "zone_local", hook: "type filter hook output priority -450; policy accept;", rules: []string{"oifname vmap @zones"}},
		{name: "egress", comment: "what interfaces send",
			hook:  "type filter hook prerouting priority -150; policy accept;",
			rules: append([]string{"iifname vmap @egress_of"}, protect("iifname")...)},
		{name: "ingress", comment: "what interfaces get from elsewhere", hook: "type filter hook forward priority 0; policy accept;", rules: to("ingress_of")},
		{name: "ingress_local", comment: "what interfaces get from this host", hook: "type filter hook output priority 0; policy accept;", rules: to("ingress_local_of", answers...)},
	}
}

// dispatch says which set holds what an interface is known by.
type dispatch struct {
	name, decl, comment string
	verdicts            bool
}

func dispatches() []dispatch {
	return []dispatch{
		{"zones", "type ifname : verdict", "zone of a device", true},
		{"zones_by_route", "typeof fib daddr oifname : verdict", "zone of what other devices bring, by where it goes", true},
		{"egress_of", "type ifname : verdict", "policy of what comes from a device", true},
		{"ingress_of", "type ifname : verdict", "policy of what goes to a device", true},
		{"ingress_local_of", "type ifname : verdict", "policy of what this host sends to a device", true},
		{"guarded", "type ifname", "devices with a source guard", false},
		{"own_v4", "type ifname . ipv4_addr; flags interval", "addresses that an interface may use", false},
		{"own_v6", "type ifname . ipv6_addr; flags interval", "", false},
		{"home_v4", "type ifname . ipv4_addr; flags interval", "addresses of guarded interfaces", false},
		{"home_v6", "type ifname . ipv6_addr; flags interval", "", false},
		{"ends_v4", "type ipv4_addr; flags interval", "addresses that any interface may use", false},
		{"ends_v6", "type ipv6_addr; flags interval", "", false},
	}
}

func vFamily(f sg.Family) string { return fmt.Sprintf("_v%d", f) }
