package enforcetest_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce/enforcetest"
)

// again takes a packet apart and puts it together by other means, lengths and
// checksums included.
func again(t *testing.T, b []byte) []byte {
	first := gopacket.Decoder(layers.LayerTypeIPv4)
	if b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(b, first, gopacket.Default)
	require.Nil(t, p.ErrorLayer())
	ip, next := p.Layers()[0], p.Layers()[1]
	switch l := next.(type) {
	case *layers.TCP:
		require.NoError(t, l.SetNetworkLayerForChecksum(p.NetworkLayer()))
	case *layers.UDP:
		require.NoError(t, l.SetNetworkLayerForChecksum(p.NetworkLayer()))
	case *layers.ICMPv6:
		require.NoError(t, l.SetNetworkLayerForChecksum(p.NetworkLayer()))
	}
	list := []gopacket.SerializableLayer{ip.(gopacket.SerializableLayer), next.(gopacket.SerializableLayer), gopacket.Payload(next.LayerPayload())}
	buf := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, list...))
	return buf.Bytes()
}

func TestPackets(t *testing.T) {
	for _, c := range [][2]string{{"192.0.2.7", "198.18.0.10"}, {"2001:db8:a::7", "2001:db8:1::10"}} {
		src, dst := netip.AddrPortFrom(netip.MustParseAddr(c[0]), 40000), netip.AddrPortFrom(netip.MustParseAddr(c[1]), 443)
		a, b := src.Addr(), dst.Addr()
		conn := enforcetest.Conn{Client: src, Server: dst, ISN: 1000}
		type got struct {
			tuple            string
			flags, typ, code uint8
			seq, ack, data   uint32
		}
		name := "icmp"
		echo, reply, unreachable, code := uint8(8), uint8(0), uint8(3), uint8(1)
		if a.Is6() {
			name, echo, reply, unreachable, code = "icmpv6", 128, 129, 1, 3
		}
		forth, back := fmt.Sprintf("%v > %v", src, dst), fmt.Sprintf("%v > %v", dst, src)
		for _, k := range []struct {
			b    []byte
			want got
		}{
			{enforcetest.TCP(src, dst, packet.PSH, 7, 8), got{tuple: "tcp " + forth, flags: packet.PSH, seq: 7, ack: 8}},
			{conn.FromClient(packet.SYN), got{tuple: "tcp " + forth, flags: packet.SYN, seq: 1000}},
			{conn.FromServer(packet.SYN | packet.ACK), got{tuple: "tcp " + back, flags: packet.SYN | packet.ACK, seq: 1_001_000, ack: 1001}},
			{conn.FromClient(packet.ACK), got{tuple: "tcp " + forth, flags: packet.ACK, seq: 1001, ack: 1_001_001}},
			{conn.FromServer(packet.ACK), got{tuple: "tcp " + back, flags: packet.ACK, seq: 1_001_001, ack: 1001}},
			{conn.FromServer(packet.RST), got{tuple: "tcp " + back, flags: packet.RST, seq: 1_001_001}},
			{enforcetest.UDP(src, dst), got{tuple: "udp " + forth}},
			{enforcetest.UDP(src, dst, 1, 2, 3), got{tuple: "udp " + forth, data: 3}},
			{enforcetest.Echo(a, b, false, 7), got{tuple: fmt.Sprintf("%s %v > %v id 7", name, a, b), typ: echo}},
			{enforcetest.Echo(a, b, true, 7), got{tuple: fmt.Sprintf("%s %v > %v id 7", name, a, b), typ: reply}},
			{enforcetest.Unreachable(a, b, enforcetest.UDP(dst, src, 1)), got{tuple: fmt.Sprintf("%s %v > %v", name, a, b), typ: unreachable, code: code, data: uint32(29 + (a.BitLen()-32)/96*20)}},
			{enforcetest.IP(a, b, 253, []byte("hello")), got{tuple: fmt.Sprintf("proto 253 %v > %v", a, b), data: 5}},
			{enforcetest.SCTP(src, dst), got{tuple: "sctp " + forth, data: 20}},
		} {
			var p packet.Packet
			require.NoError(t, packet.Decode(k.b, &p))
			require.Equal(t, k.want, got{p.Tuple.String(), p.Flags, p.ICMPType, p.ICMPCode, p.Seq, p.Ack, p.Data})
			require.Equal(t, p.Length, uint32(len(k.b)))
			for n := range uint16(3) {
				enforcetest.Stamp(k.b, n*30_000)
				require.Equal(t, n*30_000, enforcetest.Stamped(k.b))
				require.True(t, a.Is6() || packet.ChecksumIPv4(k.b))
				if p.Tuple.Proto == packet.ProtoSCTP {
					l := append([]byte(nil), k.b[p.L4:]...)
					sum := binary.LittleEndian.Uint32(l[8:])
					copy(l[8:12], []byte{0, 0, 0, 0})
					require.Equal(t, crc32.Checksum(l, crc32.MakeTable(crc32.Castagnoli)), sum)
					continue
				}
				if p.Tuple.Proto != 253 { // only the IPv4 header has a checksum
					require.Equal(t, k.b, again(t, k.b), k.want.tuple)
				}
			}
		}
		about := enforcetest.Unreachable(a, b, conn.FromServer(packet.ACK))
		var p packet.Packet
		require.NoError(t, packet.Decode(about, &p))
		require.Equal(t, "tcp "+back, p.Inner.Tuple.String())
		require.EqualValues(t, 1_001_001, p.Inner.Seq)
	}
	nd := enforcetest.ICMP(netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::1"), 135, 0, make([]byte, 20))
	require.EqualValues(t, 255, nd[7])
	require.Equal(t, nd, again(t, nd))
	require.Panics(t, func() {
		enforcetest.UDP(netip.MustParseAddrPort("192.0.2.7:1"), netip.MustParseAddrPort("[2001:db8::1]:2"))
	})
}

// A sum that comes out as zero is sent as its other form: zero says that there
// is none.
func TestUDPChecksumOfZero(t *testing.T) {
	src, dst := netip.MustParseAddrPort("192.0.2.7:1"), netip.MustParseAddrPort("198.18.0.10:2")
	found := false
	for n := range 1 << 16 {
		b := enforcetest.UDP(src, dst, byte(n>>8), byte(n))
		require.NotZero(t, binary.BigEndian.Uint16(b[26:]))
		found = found || binary.BigEndian.Uint16(b[26:]) == 0xffff
	}
	require.True(t, found)
}

func ExampleConn() {
	c := enforcetest.Conn{Client: netip.MustParseAddrPort("192.0.2.7:40000"), Server: netip.MustParseAddrPort("198.18.0.10:443")}
	for _, b := range [][]byte{c.FromClient(packet.SYN), c.FromServer(packet.SYN | packet.ACK), c.FromClient(packet.ACK)} {
		var p packet.Packet
		_ = packet.Decode(b, &p)
		fmt.Println(p.Tuple, p.Seq, p.Ack)
	}
	// Output:
	// tcp 192.0.2.7:40000 > 198.18.0.10:443 0 0
	// tcp 198.18.0.10:443 > 192.0.2.7:40000 1000000 1
	// tcp 192.0.2.7:40000 > 198.18.0.10:443 1 1000001
}
