//go:build linux

package netlabtest

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// serialize builds a packet with right lengths and checksums.
func serialize(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...))
	return b.Bytes()
}

// ipLayer is an IP header that carries proto.
func ipLayer(src, dst netip.Addr, proto layers.IPProtocol) (gopacket.SerializableLayer, gopacket.NetworkLayer) {
	if src.Is4() {
		ip := &layers.IPv4{
			Version: 4, TTL: 64, Id: 7, Protocol: proto,
			SrcIP: net.IP(src.AsSlice()), DstIP: net.IP(dst.AsSlice()),
		}
		return ip, ip
	}
	ip := &layers.IPv6{
		Version: 6, HopLimit: 64, NextHeader: proto,
		SrcIP: net.IP(src.AsSlice()), DstIP: net.IP(dst.AsSlice()),
	}
	return ip, ip
}

func udp(t testing.TB, src, dst string, payload []byte) []byte {
	t.Helper()
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	ip, pseudo := ipLayer(from.Addr(), to.Addr(), layers.IPProtocolUDP)
	l4 := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	require.NoError(t, l4.SetNetworkLayerForChecksum(pseudo))
	return serialize(t, ip, l4, gopacket.Payload(payload))
}

func tcp(t testing.TB, src, dst string, flags string, seq, ack uint32) []byte {
	t.Helper()
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	ip, pseudo := ipLayer(from.Addr(), to.Addr(), layers.IPProtocolTCP)
	l4 := &layers.TCP{SrcPort: layers.TCPPort(from.Port()), DstPort: layers.TCPPort(to.Port()), Seq: seq, Ack: ack, Window: 8192}
	for _, f := range flags {
		switch f {
		case 'S':
			l4.SYN = true
		case 'A':
			l4.ACK = true
		case 'F':
			l4.FIN = true
		case 'R':
			l4.RST = true
		case 'P':
			l4.PSH = true
		}
	}
	require.NoError(t, l4.SetNetworkLayerForChecksum(pseudo))
	return serialize(t, ip, l4)
}

// fragments cuts an IPv4 packet, or an IPv6 packet without extension headers,
// into parts of at most size bytes of payload, a multiple of 8.
func fragments(t testing.TB, packet []byte, size int) [][]byte {
	t.Helper()
	require.Zero(t, size%8)
	v6 := packet[0]>>4 == 6
	head := 20
	if v6 {
		head = 40
	}
	body := packet[head:]
	var out [][]byte
	for at := 0; at < len(body); at += size {
		part := body[at:min(at+size, len(body))]
		more := at+size < len(body)
		if v6 {
			h := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolIPv6Fragment, SrcIP: packet[8:24], DstIP: packet[24:40]}
			f := []byte{packet[6], 0, byte(at >> 8), byte(at), 0, 0, 0, 99}
			if more {
				f[3] |= 1
			}
			out = append(out, serialize(t, h, gopacket.Payload(append(f, part...))))
			continue
		}
		h := &layers.IPv4{
			Version: 4, TTL: 64, Id: 99, Protocol: layers.IPProtocol(packet[9]), FragOffset: uint16(at / 8),
			SrcIP: packet[12:16], DstIP: packet[16:20],
		}
		if more {
			h.Flags = layers.IPv4MoreFragments
		}
		out = append(out, serialize(t, h, gopacket.Payload(part)))
	}
	return out
}
