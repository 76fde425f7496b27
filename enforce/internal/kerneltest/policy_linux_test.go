package kerneltest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"example.com/secgroup/compile"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// rule is a rule in its plainest form. The engine and nft each hear of it in
// their own words: engine and nft share nothing else.
type rule struct {
	in          bool
	proto       int // -1 is any
	first, last uint16
	typ, code   int          // of ICMP; -1 is any
	peer        netip.Prefix // the zero Prefix is everybody, of both families
	set         int          // instead of peer, one of sets; 0 is none
}

// sets are IP sets, of one family each. Number 0 is none.
var sets = [][]netip.Prefix{
	nil,
	{netip.MustParsePrefix("192.0.2.0/25"), netip.MustParsePrefix("198.51.100.9/32"), netip.MustParsePrefix("203.0.113.0/31")},
	{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.128/26"), netip.MustParsePrefix("192.0.2.192/27"), netip.MustParsePrefix("198.51.100.0/28")},
	{netip.MustParsePrefix("2001:db8:a::/49"), netip.MustParsePrefix("2001:db8:b::9/128"), netip.MustParsePrefix("fd01:a::/126")},
	{netip.MustParsePrefix("2001:db8:a:8000::/50"), netip.MustParsePrefix("2001:db8:a:c000::/50"), netip.MustParsePrefix("2001:db8:b::80/121")},
}

// peers returns the prefixes of the rule's peer, none for everybody.
func (r rule) peers() []netip.Prefix {
	if r.set == 0 && r.peer.IsValid() {
		return []netip.Prefix{r.peer}
	}
	return sets[r.set]
}

var protocols = map[string]int{"any": -1, "icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}

func (r rule) ported() bool { return r.proto == 6 || r.proto == 17 || r.proto == 132 }

// String returns the rule in one line that parseRule reads: "in tcp 80-90 from
// 192.0.2.0/24", "out icmp 8/0 to any", "in 47 from ::/0".
func (r rule) String() string {
	way, who := "out", "to"
	if r.in {
		way, who = "in", "from"
	}
	proto := strconv.Itoa(r.proto)
	for name, n := range protocols {
		if n == r.proto {
			proto = name
		}
	}
	switch {
	case r.ported():
		proto += fmt.Sprintf(" %d-%d", r.first, r.last)
	case r.typ >= 0 && r.code >= 0:
		proto += fmt.Sprintf(" %d/%d", r.typ, r.code)
	case r.typ >= 0:
		proto += fmt.Sprintf(" %d", r.typ)
	}
	peer := "any"
	if r.peer.IsValid() {
		peer = r.peer.String()
	}
	if r.set > 0 {
		peer = fmt.Sprint("set", r.set)
	}
	return strings.Join([]string{way, proto, who, peer}, " ")
}

// parseRule reads what String writes.
func parseRule(s string) (rule, error) {
	f := strings.Fields(s)
	if len(f) < 4 || len(f) > 5 {
		return rule{}, fmt.Errorf("no rule: %q", s)
	}
	r := rule{in: f[0] == "in", typ: -1, code: -1}
	var ok bool
	var err error
	if r.proto, ok = protocols[f[1]]; !ok {
		if r.proto, err = strconv.Atoi(f[1]); err != nil {
			return rule{}, err
		}
	}
	if len(f) == 5 {
		switch {
		case r.ported():
			_, err = fmt.Sscanf(f[2], "%d-%d", &r.first, &r.last)
		case strings.Contains(f[2], "/"):
			_, err = fmt.Sscanf(f[2], "%d/%d", &r.typ, &r.code)
		default:
			r.typ, err = strconv.Atoi(f[2])
		}
		if err != nil {
			return rule{}, err
		}
	}
	switch who := f[len(f)-1]; {
	case strings.HasPrefix(who, "set"):
		if r.set, err = strconv.Atoi(who[3:]); err == nil && (r.set < 1 || r.set >= len(sets)) {
			err = fmt.Errorf("no set: %q", s)
		}
	case who != "any":
		r.peer, err = netip.ParsePrefix(who)
	}
	return r, err
}

// nft returns the rule as a person would write it.
func (r rule) nft() string {
	s, addr := `iifname "sg0"`, "daddr"
	if r.in {
		s, addr = `oifname "sg0"`, "saddr"
	}
	switch {
	case r.set > 0:
		var list []string
		for _, p := range r.peers() {
			list = append(list, p.String())
		}
		family := "ip"
		if r.peers()[0].Addr().Is6() {
			family = "ip6"
		}
		s += fmt.Sprintf(" %s %s { %s }", family, addr, strings.Join(list, ", "))
	case !r.peer.IsValid():
	case r.peer.Bits() == 0 && r.peer.Addr().Is4():
		s += " meta nfproto ipv4"
	case r.peer.Bits() == 0:
		s += " meta nfproto ipv6"
	case r.peer.Addr().Is4():
		s += fmt.Sprintf(" ip %s %v", addr, r.peer)
	default:
		s += fmt.Sprintf(" ip6 %s %v", addr, r.peer)
	}
	name := map[int]string{1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}[r.proto]
	switch {
	case r.proto < 0:
	case r.ported():
		s += fmt.Sprintf(" %s dport %d-%d", name, r.first, r.last)
	case r.typ < 0:
		s += fmt.Sprintf(" meta l4proto %d", r.proto)
	default:
		s += fmt.Sprintf(" %s type %d", name, r.typ)
		if r.code >= 0 {
			s += fmt.Sprintf(" %s code %d", name, r.code)
		}
	}
	return s + " accept"
}

// sg returns the rule as the engine hears of it.
func (r rule) sg(id int) sg.Rule {
	out := sg.Rule{ID: sg.RuleID(fmt.Sprint("r", id)), Direction: sg.Egress, Protocol: sg.Protocol(r.proto), Peer: sg.PeerAny()}
	if r.in {
		out.Direction = sg.Ingress
	}
	if r.proto < 0 {
		out.Protocol = sg.AnyProtocol
	}
	if r.ported() {
		out.Ports = sg.PortRange{First: r.first, Last: r.last}
	}
	switch {
	case r.typ >= 0 && r.code >= 0:
		out.ICMP = sg.ICMPTypeCode(uint8(r.typ), uint8(r.code))
	case r.typ >= 0:
		out.ICMP = sg.ICMPType(uint8(r.typ))
	}
	switch {
	case r.set > 0:
		out.Peer = sg.PeerSet(setID(r.set))
	case r.peer.IsValid():
		out.Peer = sg.PeerCIDR(r.peer)
	}
	return out
}

// rules is a policy: whatever one of them allows.
type rules []rule

// nft returns the reference ruleset: invalid is refused, what is known passes,
// then one rule after the other.
func (p rules) nft() string {
	var s strings.Builder
	s.WriteString(`table inet t
delete table inet t
table inet t {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state invalid drop
		ct state established,related accept
`)
	for _, r := range p {
		s.WriteString("\t\t" + r.nft() + "\n")
	}
	s.WriteString("\t}\n}\n")
	return s.String()
}

func setID(n int) sg.SetID { return sg.SetID(fmt.Sprint("s", n)) }

// changes returns the policy as one of the interface "i", its rules in two
// groups.
func (p rules) changes() (out []policy.Change) {
	for n := 1; n < len(sets); n++ {
		s := ipset.New(setID(n), sg.FamilyOf(sets[n][0].Addr()), sg.Global())
		for _, prefix := range sets[n] {
			if err := s.Add(ipset.Entry{Prefix: prefix}); err != nil {
				panic(err)
			}
		}
		out = append(out, policy.PutSet{Set: s})
	}
	groups := []*sg.Group{{ID: "g", Name: "g"}, {ID: "h", Name: "h"}}
	seen := map[sg.Rule]bool{}
	for i, r := range p {
		if r := r.sg(i); !seen[r.Key()] {
			seen[r.Key()] = true
			groups[i%2].Rules = append(groups[i%2].Rules, r)
		}
	}
	return append(out, policy.PutGroup{Group: groups[0]}, policy.PutGroup{Group: groups[1]},
		policy.PutInterface{Interface: &sg.Interface{ID: "i", Groups: []sg.GroupID{"g", "h"}}})
}

// narrows reports whether next lacks a rule of p.
func (p rules) narrows(next rules) bool {
	for _, r := range p {
		if !slices.Contains(next, r) {
			return true
		}
	}
	return false
}

// compilePair returns the matchers of a policy and of the one that follows it,
// out of one compiler, so that the interface is the same. In the kernel
// connections go on under the second. So they do here: because they do in any
// case, or, where the second allows all that the first did, because nothing has
// to be judged again.
func compilePair(p [2]rules) (out [2]*compile.Matcher, err error) {
	profile := strict.Profile()
	if p[0].narrows(p[1]) {
		profile.Established = sg.Keep
	}
	var c compile.Compiler
	for i, r := range p {
		s, err := policy.Build(profile, r.changes()...)
		if err != nil {
			return out, err
		}
		if out[i], err = c.Reset(s); err != nil {
			return out, err
		}
	}
	return out, nil
}
