package sg

import (
	"strconv"
	"strings"
)

// PortRange is an inclusive range of destination ports. The zero value is
// unset.
type PortRange struct{ First, Last uint16 }

// AllPorts matches every port, 0 included.
func AllPorts() PortRange { return PortRange{0, 65535} }

// Port is the range of one port.
func Port(n uint16) PortRange { return PortRange{n, n} }

// ParsePortRange parses "443", "8000-9000" or "all" (which is "0-65535").
// Numbers are plain decimals from 0 to 65535 without sign, blank or leading
// zero; port 0 alone can not be named.
func ParsePortRange(s string) (PortRange, error) {
	bad := func(detail string) (PortRange, error) {
		return PortRange{}, &FieldError{Value: s, Err: ErrInvalid, Detail: detail}
	}
	if strings.EqualFold(s, "all") {
		return AllPorts(), nil
	}
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	a, okA := parseDecimal(first, 65535)
	b, okB := parseDecimal(last, 65535)
	switch {
	case !okA || !okB:
		return bad(`want a port ("443"), a range ("8000-9000") or "all", from 0 to 65535`)
	case a > b:
		return bad("the first port is above the last")
	case b == 0:
		return bad("port 0 alone can not be named")
	}
	return PortRange{uint16(a), uint16(b)}, nil
}

// IsZero reports whether r is unset.
func (r PortRange) IsZero() bool { return r == PortRange{} }

// Valid reports whether r is set and not empty.
func (r PortRange) Valid() bool { return r.First <= r.Last && r.Last > 0 }

// IsAll reports whether r matches every port.
func (r PortRange) IsAll() bool { return r == AllPorts() }

// Contains reports whether port lies in r.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// String is "443", "8000-9000", or "" for unset.
func (r PortRange) String() string {
	switch {
	case r.IsZero():
		return ""
	case r.First == r.Last:
		return strconv.Itoa(int(r.First))
	}
	return strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
}

// MarshalText writes the canonical text; unset is written empty.
func (r PortRange) MarshalText() ([]byte, error) {
	if !r.IsZero() && !r.Valid() {
		return nil, &FieldError{Value: r.String(), Err: ErrInvalid, Detail: "the first port is above the last"}
	}
	return []byte(r.String()), nil
}

// UnmarshalText is ParsePortRange; the empty text is unset.
func (r *PortRange) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*r = PortRange{}
		return nil
	}
	*r, err = ParsePortRange(string(b))
	return err
}
