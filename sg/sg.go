// Package sg is the domain model of cloud security groups and its validation.
//
// All types are plain values: comparable where a map key is useful, safe to
// copy, and free of behaviour that needs a network. Zero values are safe: an
// unset direction, protocol, port range or peer fails validation, so that a
// forgotten field never opens anything. sg imports only the standard library.
//
// Cross-references (a rule that names another group, an interface that names
// its groups) are the business of package policy; everything that can be
// judged from one object alone is judged here.
package sg

import (
	"unicode"
	"unicode/utf8"
)

type (
	GroupID     string // GroupID names a security group, unique within a snapshot.
	RuleID      string // RuleID names a rule, unique within its group.
	SetID       string // SetID names an IP set, unique within a snapshot.
	InterfaceID string // InterfaceID names a network interface (NIC, port, VIF).
	VPCID       string // VPCID names a routing domain; addresses are only comparable inside one. Empty is one domain like any other.
	OwnerID     string // OwnerID names the user or project that owns a resource.
)

// MaxName is the length limit of ids and names, in bytes.
const MaxName = 255

// CheckName returns why s can not be an id or a name, or "". An id is 1 to
// MaxName bytes of UTF-8 without control characters; quotes, braces and
// spaces are allowed, since every renderer quotes.
func CheckName(s string) string {
	switch {
	case s == "":
		return "must not be empty"
	case len(s) > MaxName:
		return "longer than 255 bytes"
	case !utf8.ValidString(s):
		return "not valid UTF-8"
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return "contains a control character"
		}
	}
	return ""
}
