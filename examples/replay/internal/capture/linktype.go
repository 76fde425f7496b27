package capture

import "fmt"

// LinkType is the number that a capture file has for what its packets begin
// with. The numbers are those of the tcpdump.org registry.
type LinkType uint16

// The supported link types.
const (
	LinkNull     LinkType = 0   // BSD loopback, address family in some byte order
	LinkEthernet LinkType = 1   // Ethernet
	LinkRawDLT12 LinkType = 12  // raw IP by a number that some systems use
	LinkRawDLT14 LinkType = 14  // raw IP, the same on OpenBSD
	LinkRaw      LinkType = 101 // raw IP, IPv4 or IPv6
	LinkLoop     LinkType = 108 // OpenBSD loopback, address family in network order
	LinkSLL      LinkType = 113 // Linux cooked
	LinkIPv4     LinkType = 228 // raw IPv4
	LinkIPv6     LinkType = 229 // raw IPv6
	LinkSLL2     LinkType = 276 // Linux cooked, version 2
)

// linkTypes are the supported link types and the names of some others that
// one meets, in the order of their numbers.
var linkTypes = []struct {
	typ       LinkType
	name      string
	supported bool
}{
	{LinkNull, "null", true},
	{LinkEthernet, "Ethernet", true},
	{6, "Token Ring", false},
	{8, "SLIP", false},
	{9, "PPP", false},
	{10, "FDDI", false},
	{LinkRawDLT12, "raw IP", true},
	{LinkRawDLT14, "raw IP", true},
	{50, "PPP in HDLC", false},
	{51, "PPPoE", false},
	{LinkRaw, "raw IP", true},
	{104, "Cisco HDLC", false},
	{105, "802.11", false},
	{107, "Frame Relay", false},
	{LinkLoop, "loop", true},
	{109, "OpenBSD enc", false},
	{LinkSLL, "Linux cooked", true},
	{117, "OpenBSD pflog", false},
	{119, "802.11 with Prism header", false},
	{127, "802.11 with radiotap header", false},
	{187, "Bluetooth HCI", false},
	{189, "USB of Linux", false},
	{192, "PPI", false},
	{195, "802.15.4", false},
	{201, "Bluetooth HCI with direction", false},
	{220, "USB of Linux, memory-mapped", false},
	{227, "SocketCAN", false},
	{LinkIPv4, "raw IPv4", true},
	{LinkIPv6, "raw IPv6", true},
	{239, "NFLOG", false},
	{249, "USBPcap", false},
	{253, "netlink", false},
	{LinkSLL2, "Linux cooked v2", true},
}

// String returns the name of the link type, if it is known, with its number.
func (t LinkType) String() string {
	for _, l := range linkTypes {
		if l.typ == t {
			return fmt.Sprintf("%s (%d)", l.name, t)
		}
	}
	return fmt.Sprintf("%d", uint16(t))
}

// Supported reports whether packets of the link type can be read.
func (t LinkType) Supported() bool {
	for _, l := range linkTypes {
		if l.typ == t {
			return l.supported
		}
	}
	return false
}
