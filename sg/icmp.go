package sg

import (
	"strconv"
	"strings"
)

// ICMPMatch selects ICMP messages. The zero value matches every type and
// code; "any" is a state of its own, never type 0 or -1, so a rule for echo
// replies (type 0) is not a rule for everything.
type ICMPMatch struct{ v uint32 }

const (
	icmpHasType = 1 << 16
	icmpHasCode = 1 << 17
)

// ICMPType matches one type with any code.
func ICMPType(typ uint8) ICMPMatch { return ICMPMatch{icmpHasType | uint32(typ)<<8} }

// ICMPTypeCode matches one type and code.
func ICMPTypeCode(typ, code uint8) ICMPMatch {
	return ICMPMatch{icmpHasType | icmpHasCode | uint32(typ)<<8 | uint32(code)}
}

// ParseICMPMatch parses "any", a type ("8") or a type and code ("3/4").
func ParseICMPMatch(s string) (ICMPMatch, error) {
	if strings.EqualFold(s, "any") {
		return ICMPMatch{}, nil
	}
	typ, code, hasCode := strings.Cut(s, "/")
	t, okT := parseDecimal(typ, 255)
	c, okC := parseDecimal(code, 255)
	switch {
	case okT && !hasCode:
		return ICMPType(uint8(t)), nil
	case okT && okC:
		return ICMPTypeCode(uint8(t), uint8(c)), nil
	}
	return ICMPMatch{}, &FieldError{Value: s, Err: ErrInvalid, Detail: `want "any", a type ("8") or a type and code ("3/4"), 0 to 255 each`}
}

// Type returns the type; ok is false if m matches every type.
func (m ICMPMatch) Type() (typ uint8, ok bool) { return uint8(m.v >> 8), m.v&icmpHasType != 0 }

// Code returns the code; ok is false if m matches every code.
func (m ICMPMatch) Code() (code uint8, ok bool) { return uint8(m.v), m.v&icmpHasCode != 0 }

// IsAny reports whether m matches every message.
func (m ICMPMatch) IsAny() bool { return m == ICMPMatch{} }

// Matches reports whether a message of that type and code is selected.
func (m ICMPMatch) Matches(typ, code uint8) bool {
	if t, ok := m.Type(); ok && t != typ {
		return false
	}
	c, ok := m.Code()
	return !ok || c == code
}

// String is "any", "8" or "3/4".
func (m ICMPMatch) String() string {
	t, ok := m.Type()
	if !ok {
		return "any"
	}
	if c, ok := m.Code(); ok {
		return strconv.Itoa(int(t)) + "/" + strconv.Itoa(int(c))
	}
	return strconv.Itoa(int(t))
}

// MarshalText writes the canonical text.
func (m ICMPMatch) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseICMPMatch.
func (m *ICMPMatch) UnmarshalText(b []byte) (err error) {
	*m, err = ParseICMPMatch(string(b))
	return err
}
