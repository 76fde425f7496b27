package enforce_test

import (
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
)

// discovery is a message of that type with a hop limit.
func discovery(src, dst string, typ uint8, hops uint8) []byte {
	b := icmp(src, dst, typ, 0, make([]byte, 24))
	b[7] = hops
	return b
}

// TestHostileDiscovery: INF-01, EXT-10, FRAG-14. Neighbour discovery passes a
// deny-all group, but only from this link, whole, and no workload is a router.
func TestHostileDiscovery(t *testing.T) {
	p := aws.Profile()
	b := newBench(t, enforce.Options{}, p, group("g", []sg.Rule{
		{ID: "out", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()},
	}), nic("i", "g"))
	for _, typ := range []uint8{134, 135, 136} {
		require.Contains(t, b.in(discovery("fe80::1", "fd00::5", typ, 255)), "accept platform", typ)
		require.Contains(t, b.in(discovery("2001:db8::1", "fd00::5", typ, 64)), "drop off_link", typ)
	}
	for _, typ := range []uint8{133, 135, 136} {
		require.Contains(t, b.out(discovery("fd00::5", "fe80::1", typ, 255)), "accept", typ)
	}
	for _, typ := range []uint8{134, 137} {
		require.Contains(t, b.out(discovery("fd00::5", "ff02::1", typ, 255)), "drop platform", typ)
	}
	whole := discovery("fe80::1", "fd00::5", 135, 255)
	ip := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolIPv6Fragment, HopLimit: 255, SrcIP: whole[8:24], DstIP: whole[24:40]}
	fragment := serialize(ip, gopacket.Payload(append([]byte{58, 0, 0, 1, 0, 0, 0, 9}, whole[40:64]...)))
	require.Contains(t, b.in(fragment), "drop fragmented_discovery")
}
