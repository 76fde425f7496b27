package sg

import (
	"net/netip"
	"strings"
)

// PeerKind says which of the mutually exclusive peer forms a Peer is.
type PeerKind uint8

const (
	PeerUnset PeerKind = iota
	PeerIsCIDR
	PeerIsGroup
	PeerIsSet
	PeerIsAny
)

// String is "unset", "cidr", "group", "set" or "any".
func (k PeerKind) String() string {
	switch k {
	case PeerIsCIDR:
		return "cidr"
	case PeerIsGroup:
		return "group"
	case PeerIsSet:
		return "set"
	case PeerIsAny:
		return "any"
	}
	return "unset"
}

// Peer is the remote end of a rule: the source of an ingress rule, the
// destination of an egress rule. It is exactly one of a CIDR, a remote group,
// an IP set, or any address. Peer is comparable; the zero value is unset and invalid.
type Peer struct {
	kind   PeerKind
	prefix netip.Prefix
	id     string
}

// PeerCIDR is a peer given by prefix. Host bits are a fault at validation:
// mask them where the text comes in, if that is wanted.
func PeerCIDR(p netip.Prefix) Peer { return Peer{kind: PeerIsCIDR, prefix: p} }

// PeerGroup is a peer given by membership of a group, possibly the rule's own.
func PeerGroup(id GroupID) Peer { return Peer{kind: PeerIsGroup, id: string(id)} }

// PeerSet is a peer given by an IP set.
func PeerSet(id SetID) Peer { return Peer{kind: PeerIsSet, id: string(id)} }

// PeerAny is every address of the rule's family, of both if it names none.
// 0.0.0.0/0 and ::/0 are the same for one family.
func PeerAny() Peer { return Peer{kind: PeerIsAny} }

// Kind returns which form p is.
func (p Peer) Kind() PeerKind { return p.kind }

// CIDR returns the prefix; ok is false for other kinds.
func (p Peer) CIDR() (netip.Prefix, bool) { return p.prefix, p.kind == PeerIsCIDR }

// Group returns the group; ok is false for other kinds.
func (p Peer) Group() (GroupID, bool) {
	if p.kind != PeerIsGroup {
		return "", false
	}
	return GroupID(p.id), true
}

// Set returns the IP set; ok is false for other kinds.
func (p Peer) Set() (SetID, bool) {
	if p.kind != PeerIsSet {
		return "", false
	}
	return SetID(p.id), true
}

// IsAny reports whether p is every address, of whatever family.
func (p Peer) IsAny() bool {
	return p.kind == PeerIsAny || p.kind == PeerIsCIDR && p.prefix.IsValid() && p.prefix.Bits() == 0
}

// String is the prefix, or "group sg-web", "set ips-office" or "any".
func (p Peer) String() string {
	switch p.kind {
	case PeerIsCIDR:
		return p.prefix.String()
	case PeerIsGroup:
		return "group " + p.id
	case PeerIsSet:
		return "set " + p.id
	case PeerIsAny:
		return "any"
	}
	return "unset"
}

// MarshalText writes the prefix, "any", "group:sg-web" or "set:ips-office";
// unset is written empty.
func (p Peer) MarshalText() ([]byte, error) {
	switch p.kind {
	case PeerIsCIDR:
		return p.prefix.MarshalText()
	case PeerIsGroup:
		return []byte("group:" + p.id), nil
	case PeerIsSet:
		return []byte("set:" + p.id), nil
	case PeerIsAny:
		return []byte("any"), nil
	}
	return nil, nil
}

// UnmarshalText reads what MarshalText writes.
func (p *Peer) UnmarshalText(b []byte) error {
	s := string(b)
	switch s {
	case "":
		*p = Peer{}
		return nil
	case "any":
		*p = PeerAny()
		return nil
	}
	if id, ok := strings.CutPrefix(s, "group:"); ok {
		*p = PeerGroup(GroupID(id))
	} else if id, ok := strings.CutPrefix(s, "set:"); ok {
		*p = PeerSet(SetID(id))
	} else {
		prefix, err := ParsePrefix(s)
		if err != nil {
			return err
		}
		*p = PeerCIDR(prefix)
	}
	if f := p.validate(); f != nil {
		return f
	}
	return nil
}

// validate returns the fault of p alone, or nil.
func (p Peer) validate() *FieldError {
	switch p.kind {
	case PeerIsCIDR:
		if why := CheckPrefix(p.prefix); why != "" {
			return &FieldError{Value: p.prefix, Err: ErrInvalid, Detail: why}
		}
	case PeerIsGroup, PeerIsSet:
		if f := nameFault(p.id); f != nil {
			f.Detail = p.kind.String() + " id " + f.Detail
			return f
		}
	case PeerIsAny:
	default:
		return &FieldError{Err: ErrRequired, Detail: "a CIDR, a group, an IP set, or any"}
	}
	return nil
}

// ParsePrefix parses a CIDR, or a bare address as /32 or /128. One prefix has
// one spelling: host bits, zones, leading zeros and IPv4-mapped IPv6 are
// refused, and the error says what was probably meant.
func ParsePrefix(s string) (netip.Prefix, error) {
	bad := func(detail string) (netip.Prefix, error) {
		return netip.Prefix{}, &FieldError{Value: s, Err: ErrInvalid, Detail: detail}
	}
	var p netip.Prefix
	if strings.Contains(s, "/") {
		var err error
		if p, err = netip.ParsePrefix(s); err != nil {
			return bad("want an address or a CIDR")
		}
	} else {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return bad("want an address or a CIDR")
		}
		if a.Zone() != "" {
			return bad("an address with a zone is not a prefix")
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if why := CheckPrefix(p); why != "" {
		return bad(why)
	}
	return p, nil
}

// CheckPrefix returns why p is not a canonical prefix, or "".
func CheckPrefix(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "not a prefix"
	case p.Addr().Is4In6():
		return "IPv4-mapped IPv6; write the IPv4 prefix"
	case p != p.Masked():
		return "has host bits; did you mean " + p.Masked().String() + "?"
	}
	return ""
}
