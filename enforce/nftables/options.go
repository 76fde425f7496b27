package nftables

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"example.com/secgroup/sg"
)

// Options configure the backend. Device is required.
type Options struct {
	// Table is the name of the table, of family inet; default "secgroup". The
	// backend touches no other table.
	Table string

	// Device returns the kernel name of an interface; false if the interface
	// is not on this host. Apply asks for the interfaces that differ, and for
	// all of them if it does not know what differs or the matcher is the one of
	// before. The device need not exist yet: rules go by name and stand before
	// it appears.
	Device func(sg.InterfaceID) (string, bool)

	// Uplinks are the devices that carry the traffic of one VPC to and from
	// other hosts, by name. Without an entry the VPC of an arriving packet is
	// that of the interface to which the host routes its destination, which is
	// enough while no two VPCs on the host use the same addresses.
	Uplinks map[string]sg.VPCID

	// Protect are devices that pass nothing while no interface of the policy
	// has them: names, or beginnings of names such as "tap*". With them a
	// device that appears before its policy has no network access.
	Protect []string

	// Reject answers what the policy refuses: TCP with a reset, the rest with
	// ICMP "administratively prohibited" (RFC 1812 5.2.7.1, RFC 4443 3.1). By
	// default packets vanish, and malformed, spoofed or invalid ones always do.
	Reject bool

	// Interval is how often Backend.Run looks for drift; default 1s.
	Interval time.Duration

	// Logger hears of policies applied and of drift found. By default nobody
	// does.
	Logger *slog.Logger
}

// marker is the comment of a table that belongs to this package.
const marker = "managed by secgroup: edits are undone"

// withDefaults returns o with defaults filled in, and every fault in it.
func (o Options) withDefaults() (Options, error) {
	var errs sg.Errors
	if o.Table == "" {
		o.Table = "secgroup"
	}
	if !isName(o.Table) {
		errs.Add("table", o.Table, sg.ErrInvalid, "letters, digits and _, first a letter")
	}
	if o.Device == nil {
		errs.Add("device", nil, sg.ErrRequired, "a function from interface to kernel device")
	}
	for _, name := range sortedKeys(o.Uplinks) {
		if why := checkDevice(name); why != "" {
			errs.Add("uplinks["+quote(name)+"]", name, sg.ErrInvalid, why)
		}
	}
	for _, name := range o.Protect {
		if why := checkDevice(strings.TrimSuffix(name, "*")); why != "" {
			errs.Add("protect["+quote(name)+"]", name, sg.ErrInvalid, why)
		}
	}
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.Interval < 0 {
		errs.Add("interval", o.Interval, sg.ErrInvalid, "a time above zero")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errs.Err()
}

// isName reports whether nft reads s as an identifier whatever its keywords.
func isName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i, c := range s {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

// checkDevice says what is wrong with the name of a network device, "" if
// nothing is. Linux takes 1 to 15 bytes without blanks, colons and slashes
// (net/core/dev.c, dev_valid_name); quotes, stars and the like mean something
// to nft and are refused too.
func checkDevice(s string) string {
	switch {
	case s == "":
		return "a device name is missing"
	case len(s) > 15:
		return "a device name has at most 15 bytes"
	case s == "." || s == "..":
		return "no device has this name"
	case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`"'\*:/`, c) }):
		return "a device name here is printable ASCII without blanks, quotes, stars, colons and slashes"
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
