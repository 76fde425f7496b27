package packet

// Error says why Decode refused a packet. Compare it with == or errors.Is.
// The zero Error is no error and is never returned. Returning one allocates
// nothing.
type Error uint8

// The errors of Decode, and the whole set of them.
const (
	// ErrTruncated is a packet shorter than its headers say: "packet: truncated".
	ErrTruncated Error = iota + 1

	// ErrVersion is an IP version other than 4 and 6: "packet: unknown IP version".
	ErrVersion

	// ErrHeader is a header that cannot be: an impossible length, broken
	// options, a chain of extension headers that no sender may build or that
	// is longer than Decode will walk, a fragment that no datagram has:
	// "packet: impossible header".
	ErrHeader

	// ErrTinyFragment is a first fragment that cuts the headers, or a trailing
	// one that begins inside the transport header (RFC 1858, RFC 3128,
	// RFC 7112): "packet: tiny fragment".
	ErrTinyFragment
)

// Error returns a text that stays the same from release to release.
func (e Error) Error() string {
	switch e {
	case 0:
		return "packet: no error"
	case ErrTruncated:
		return "packet: truncated"
	case ErrVersion:
		return "packet: unknown IP version"
	case ErrHeader:
		return "packet: impossible header"
	case ErrTinyFragment:
		return "packet: tiny fragment"
	}
	return "packet: unknown error"
}
