package ir

import "example.com/secgroup/sg"

// Reason says why a verdict was reached; its text form is stable.
type Reason uint8

const (
	ReasonNone             Reason = iota
	ReasonRule                    // a rule of a group matched
	ReasonNoRule                  // no rule matched
	ReasonUnattached              // profile default for interfaces without groups
	ReasonEmptyDirection          // profile default for a direction without rules
	ReasonPlatform                // a platform rule matched
	ReasonUnknownInterface        // the policy has no such interface
	ReasonEstablished             // from here on: decided before or after policy, by package enforce
	ReasonRelated                 // an ICMP error about a tracked connection
	ReasonInvalidState            // belongs to no legal connection
	ReasonMalformed               // the headers can not be vouched for
	ReasonFragment                // a fragment whose first one was refused, is unknown or overlaps
	ReasonTableFull               // accepted, but there is no room to track it
	ReasonSpoofed                 // an address that the interface may not use
	ReasonNoPolicy                // nothing was applied yet

	// From here on: what package enforce refuses whatever the rules say. Its
	// Hygiene has a switch for each but the first two and the last.
	ReasonChecksum            // a checksum that its source vouches for is wrong
	ReasonOffLink             // neighbour discovery that did not start on this link
	ReasonFragmentedDiscovery // neighbour discovery in fragments
	ReasonSourceRoute         // the sender chose the route
	ReasonIPOptions           // IPv4 options that contradict themselves
	ReasonRoutingHeader       // an IPv6 routing header of type 0
	ReasonFragmentHeader      // more than one IPv6 fragment header
	ReasonMartian             // an address that no packet between two hosts has
	ReasonLand                // source and destination are the same
	ReasonICMPRedirect        // an ICMP redirect without a flow
	ReasonICMPType            // an ICMP message of a type that nobody has defined
	ReasonFragmentHeld        // kept back until the first fragment of its datagram comes
	reasonCount
)

func reasonTexts() [reasonCount]string {
	return [...]string{
		"none", "rule", "no_rule", "unattached", "empty_direction", "platform", "unknown_interface", "established",
		"related", "invalid_state", "malformed", "fragment", "table_full", "spoofed", "no_policy",
		"checksum", "off_link", "fragmented_discovery", "source_route", "ip_options", "routing_header", "fragment_header",
		"martian", "land", "icmp_redirect", "icmp_type", "fragment_held",
	}
}

// Reasons returns every reason in order of number.
func Reasons() []Reason {
	out := make([]Reason, reasonCount)
	for i := range out {
		out[i] = Reason(i)
	}
	return out
}

// String is the stable text: "rule", "no_rule", "established" …
func (r Reason) String() string {
	if r < reasonCount {
		return reasonTexts()[r]
	}
	return "unknown"
}

// MarshalText writes the stable text.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the stable text.
func (r *Reason) UnmarshalText(b []byte) error {
	for i, t := range reasonTexts() {
		if t == string(b) {
			*r = Reason(i)
			return nil
		}
	}
	return &sg.FieldError{Value: string(b), Err: sg.ErrInvalid, Detail: "want a reason such as no_rule"}
}
