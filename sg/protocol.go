package sg

import "strconv"

// Protocol is an IANA protocol number (1 to 255), or AnyProtocol. The zero
// value is unset and fails validation: forgetting the protocol never opens
// everything.
type Protocol int16

const (
	AnyProtocol Protocol = -1
	ICMP        Protocol = 1
	TCP         Protocol = 6
	UDP         Protocol = 17
	ICMPv6      Protocol = 58
	SCTP        Protocol = 132
)

// protocols holds the names understood, by the IANA registry of protocol
// numbers, the canonical one first.
func protocols() enum[Protocol] {
	return enum[Protocol]{"protocol", []enumText[Protocol]{
		{"tcp", TCP}, {"udp", UDP}, {"icmp", ICMP}, {"icmpv6", ICMPv6}, {"sctp", SCTP}, {"any", AnyProtocol},
		{"all", AnyProtocol}, {"icmp6", ICMPv6}, {"ipv6-icmp", ICMPv6},
		{"igmp", 2}, {"ipip", 4}, {"dccp", 33}, {"gre", 47}, {"esp", 50}, {"ah", 51}, {"ospf", 89}, {"pim", 103},
		{"vrrp", 112}, {"udplite", 136},
	}}
}

// ParseProtocol parses a name ("tcp", in any letter case), a number from 1 to
// 255 ("6"), or "any" or "all". Blanks, signs and leading zeros are refused:
// one protocol has one spelling.
func ParseProtocol(s string) (Protocol, error) {
	if n, ok := parseDecimal(s, 255); ok && n > 0 {
		return Protocol(n), nil
	}
	p, err := protocols().parse(s)
	if err != nil {
		return 0, &FieldError{Value: s, Err: ErrInvalid, Detail: "want a protocol: tcp, udp, icmp, icmpv6, sctp, any, or a number from 1 to 255"}
	}
	return p, nil
}

// Valid reports whether p is AnyProtocol or a number from 1 to 255.
func (p Protocol) Valid() bool { return p == AnyProtocol || 0 < p && p <= 255 }

// HasPorts reports whether rules for p name ports: TCP, UDP and SCTP.
func (p Protocol) HasPorts() bool { return p == TCP || p == UDP || p == SCTP }

// HasICMP reports whether rules for p may name a type and code.
func (p Protocol) HasICMP() bool { return p == ICMP || p == ICMPv6 }

// Family returns the family outside which p has no meaning: IPv4 for ICMP,
// IPv6 for ICMPv6, else FamilyAny.
func (p Protocol) Family() Family {
	switch p {
	case ICMP:
		return IPv4
	case ICMPv6:
		return IPv6
	}
	return FamilyAny
}

// String is the lower-case name, else the number; "unset" for zero.
func (p Protocol) String() string {
	if p == 0 {
		return "unset"
	}
	if s := protocols().format(p); s != "" {
		return s
	}
	return strconv.Itoa(int(p))
}

// MarshalText writes the canonical text; unset and impossible numbers are errors.
func (p Protocol) MarshalText() ([]byte, error) {
	if !p.Valid() {
		return nil, &FieldError{Value: int(p), Err: ErrInvalid, Detail: "want a protocol number from 1 to 255, or any"}
	}
	return []byte(p.String()), nil
}

// UnmarshalText is ParseProtocol.
func (p *Protocol) UnmarshalText(b []byte) (err error) {
	*p, err = ParseProtocol(string(b))
	return err
}

// parseDecimal reads a plain decimal number up to limit: digits only, no
// leading zero.
func parseDecimal(s string, limit int) (int, bool) {
	if s == "" || len(s) > 5 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n <= limit
}
