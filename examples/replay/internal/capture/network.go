package capture

import (
	"encoding/binary"
	"fmt"
)

const (
	etherIPv4  = 0x0800
	etherARP   = 0x0806
	etherRARP  = 0x8035
	etherVLAN  = 0x8100 // 802.1Q
	etherIPv6  = 0x86dd
	etherQinQ  = 0x88a8 // 802.1ad
	etherQinQ0 = 0x9100 // the same before it was a standard

	// The numbers below are not ethertypes: on Ethernet they are the length
	// of an 802.3 frame, in the cooked formats they are numbers of Linux.
	etherFirst = 0x0600
	linuxLLC   = 0x0004

	maxTags = 4

	netlinkDevice = 824 // the ARPHRD_ number of a netlink monitor
)

const tooShort = "too short"

// network finds the IP packet in a frame: its bytes, or why there is none.
func network(link LinkType, b []byte) (ip []byte, note string) {
	switch link {
	case LinkEthernet:
		if len(b) < 14 {
			return nil, tooShort
		}
		return ethertype(binary.BigEndian.Uint16(b[12:]), b[14:], true)
	case LinkSLL:
		if len(b) < 16 {
			return nil, tooShort
		}
		return cooked(binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[14:]), b[16:])
	case LinkSLL2:
		if len(b) < 20 {
			return nil, tooShort
		}
		return cooked(binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b), b[20:])
	case LinkNull, LinkLoop:
		if len(b) < 4 {
			return nil, tooShort
		}
		return loopback(binary.BigEndian.Uint32(b), b[4:])
	case LinkIPv4:
		return version(b, 4)
	case LinkIPv6:
		return version(b, 6)
	}
	return version(b, 0) // raw IP
}

// ethertype goes by an ethertype, through VLAN tags. On Ethernet a small
// number is a length.
func ethertype(typ uint16, b []byte, isEthernet bool) ([]byte, string) {
	for range maxTags {
		if typ != etherVLAN && typ != etherQinQ && typ != etherQinQ0 {
			break
		}
		if len(b) < 4 {
			return nil, tooShort
		}
		typ, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		isEthernet = true
	}
	switch typ {
	case etherIPv4:
		return version(b, 4)
	case etherIPv6:
		return version(b, 6)
	case etherARP:
		return nil, "arp"
	case etherRARP:
		return nil, "rarp"
	case etherVLAN, etherQinQ, etherQinQ0:
		return nil, fmt.Sprintf("more than %d vlan tags", maxTags)
	}
	switch {
	case typ >= etherFirst:
		return nil, fmt.Sprintf("ethertype 0x%04x", typ)
	case isEthernet || typ == linuxLLC:
		// An IP packet in LLC and SNAP is refused too: hardly anybody sends
		// it, and few hosts would take it.
		return nil, "llc"
	}
	return nil, fmt.Sprintf("linux protocol 0x%04x", typ)
}

// cooked takes the protocol of a Linux cooked header, which is an ethertype on
// the devices that matter.
func cooked(device, protocol uint16, b []byte) ([]byte, string) {
	if device == netlinkDevice {
		return nil, "netlink"
	}
	return ethertype(protocol, b, false)
}

// loopback takes the address family of a BSD loopback header. It should be in
// the byte order of the machine that captured, which need not be that of the
// file; no address family is longer than a byte, so it is seen which it is.
func loopback(family uint32, b []byte) ([]byte, string) {
	if family > 0xffff {
		family = family>>24 | family>>8&0xff00 | family<<8&0xff0000 | family<<24
	}
	switch family {
	case 2:
		return version(b, 4)
	case 10, 24, 28, 30: // Linux; NetBSD and OpenBSD; FreeBSD; macOS
		return version(b, 6)
	}
	return nil, fmt.Sprintf("address family %d", family)
}

// version returns b if it begins as an IP packet of the version, or of any if
// want is 0. A host looks at the ethertype first and then drops a packet whose
// version is another one, so such a packet is none.
func version(b []byte, want byte) ([]byte, string) {
	if len(b) == 0 {
		return nil, tooShort
	}
	v := b[0] >> 4
	switch {
	case (v == 4 || v == 6) && (v == want || want == 0):
		return b, ""
	case want == 0:
		return nil, fmt.Sprintf("ip version %d", v)
	}
	return nil, fmt.Sprintf("ip version %d in place of %d", v, want)
}
