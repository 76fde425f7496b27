package sg

import (
	"net/netip"
	"strconv"
)

// Family is an IP version. FamilyAny matches both.
type Family uint8

const (
	FamilyAny Family = 0
	IPv4      Family = 4
	IPv6      Family = 6
)

func families() enum[Family] {
	return enum[Family]{"family", []enumText[Family]{{"ipv4", IPv4}, {"ipv6", IPv6}, {"any", FamilyAny}}}
}

// ParseFamily parses "ipv4", "ipv6" or "any" in any letter case.
func ParseFamily(s string) (Family, error) { return families().parse(s) }

// FamilyOf returns the version of a. An IPv4-mapped IPv6 address is IPv6: on
// the wire it stands in an IPv6 header, and IPv4 rules must not match it
// (RFC 4942, section 2.2).
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// Valid reports whether f is FamilyAny, IPv4 or IPv6.
func (f Family) Valid() bool { return f == FamilyAny || f == IPv4 || f == IPv6 }

// Matches reports whether f covers g.
func (f Family) Matches(g Family) bool { return f == FamilyAny || f == g }

// String is "ipv4", "ipv6" or "any", and a number for what is no family.
func (f Family) String() string {
	switch f {
	case FamilyAny:
		return "any"
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	}
	return "family " + strconv.Itoa(int(f))
}

// MarshalText writes the canonical text.
func (f Family) MarshalText() ([]byte, error) { return families().marshal(f) }

// UnmarshalText is ParseFamily.
func (f *Family) UnmarshalText(b []byte) (err error) {
	*f, err = ParseFamily(string(b))
	return err
}
