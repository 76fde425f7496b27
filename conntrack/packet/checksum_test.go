package packet_test

import (
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"testing"

	"example.com/secgroup/conntrack/packet"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// slowSum is RFC 1071, word by word, with the carry brought round each time.
func slowSum(b []byte) uint16 {
	s := uint32(0)
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		if s += w; s > 0xffff {
			s -= 0xffff
		}
	}
	return uint16(s)
}

// slowChecksum says whether the transport checksum is right as the RFCs put it:
// a pseudo header in front of the bytes, all in one buffer.
func slowChecksum(b []byte, p packet.Packet) bool {
	if p.Fragment || p.Odd.Has(packet.OddSourceRoute|packet.OddRoutingType0) {
		return true
	}
	d := append([]byte(nil), b[p.L4:p.Length]...)
	switch p.Tuple.Proto {
	case packet.ProtoSCTP:
		want := binary.LittleEndian.Uint32(d[8:])
		copy(d[8:12], []byte{0, 0, 0, 0})
		return crc32.Checksum(d, crc32.MakeTable(crc32.Castagnoli)) == want
	case packet.ProtoICMP:
		return slowSum(d) == 0xffff
	case packet.ProtoUDP:
		d = d[:binary.BigEndian.Uint16(d[4:])]
		if d[6] == 0 && d[7] == 0 {
			return p.Tuple.Family == 4
		}
	case packet.ProtoTCP, packet.ProtoICMPv6:
	default:
		return true
	}
	var pseudo []byte
	if src, dst := p.Tuple.SrcAddr(), p.Tuple.DstAddr(); p.Tuple.Family == 4 {
		pseudo = append(append(pseudo, src.AsSlice()...), dst.AsSlice()...)
		pseudo = append(pseudo, 0, p.Tuple.Proto)
		pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(d)))
	} else {
		pseudo = append(append(pseudo, src.AsSlice()...), dst.AsSlice()...)
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(d)))
		pseudo = append(pseudo, 0, 0, 0, p.Tuple.Proto)
	}
	return slowSum(append(pseudo, d...)) == 0xffff
}

// seal fills the transport checksum of a packet in, if it has one.
func seal(b []byte) []byte {
	var p packet.Packet
	if packet.Decode(b, &p) != nil || p.Fragment {
		return b
	}
	at := map[uint8]int{packet.ProtoTCP: 16, packet.ProtoUDP: 6, packet.ProtoICMP: 2, packet.ProtoICMPv6: 2}[p.Tuple.Proto]
	switch {
	case p.Tuple.Proto == packet.ProtoSCTP:
		d := b[p.L4:p.Length]
		clear(d[8:12])
		binary.LittleEndian.PutUint32(d[8:], crc32.Checksum(d, crc32.MakeTable(crc32.Castagnoli)))
	case at != 0:
		field := b[int(p.L4)+at:]
		for c := range 1 << 16 { // whatever makes the slow form say yes
			if c == 0 && p.Tuple.Proto == packet.ProtoUDP {
				continue
			}
			binary.BigEndian.PutUint16(field, uint16(c))
			if slowChecksum(b, p) {
				break
			}
		}
	}
	return b
}

// TestChecksum: every protocol and size is right once sealed, and wrong when a
// bit of it is not what it was.
func TestChecksum(t *testing.T) {
	sctp := func(data []byte) []byte { return append([]byte{0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0}, data...) }
	for _, n := range []int{0, 1, 7, 8, 9, 31, 63, 64, 65, 127, 128, 200} {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i*37+n) | 2 // no INIT of SCTP
		}
		for name, b := range map[string][]byte{
			"v4 tcp": ip4(6, tcp(packet.SYN, nil, data)), "v6 tcp": ip6(6, tcp(packet.SYN, nil, data)),
			"v4 udp": ip4(17, udp(data)), "v6 udp": ip6(17, udp(data)),
			"v4 icmp": ip4(1, icmp(8, 0, data)), "v6 icmp": ip6(58, icmp(128, 0, data)),
			"v4 sctp": ip4(132, sctp(data)), "v6 sctp": ip6(132, sctp(data)),
			"v6 chain": ip6(0, opts(60), opts(17), udp(data)), "v4 options": ip4opt(17, []byte{1, 1, 1, 0}, udp(data)),
		} {
			seal(b)
			p, err := decode(t, b)
			require.NoError(t, err, name)
			require.True(t, slowChecksum(b, p), "%s %d: the sealer", name, n)
			require.True(t, p.Checksum(b), "%s %d", name, n)
			require.True(t, p.Checksum(append(b, 1, 2, 3)), "%s: bytes behind the packet", name)
			for _, at := range []int{int(p.L4), int(p.L4) + 1, len(b) - 1} {
				bad := with(b, at, b[at]^1)
				require.False(t, p.Checksum(bad), "%s %d: byte %d", name, n, at)
			}
			if name == "v4 tcp" || name == "v6 udp" {
				q := p
				q.Tuple.Src[15] ^= 1
				require.False(t, q.Checksum(b), "%s: the pseudo header", name)
			}
		}
	}
}

func TestChecksumOptional(t *testing.T) {
	sum := func(b []byte) bool {
		p, err := decode(t, b)
		require.NoError(t, err)
		return p.Checksum(b)
	}
	require.True(t, sum(ip4(17, udp(nil))), "UDP-02: zero is none in IPv4")
	require.False(t, sum(ip6(17, udp(nil))), "UDP-02: zero is wrong in IPv6")
	require.True(t, sum(ip4(47, []byte{1, 2, 3})), "a protocol without")
	require.True(t, sum(frag4(17, 0, true, udp([]byte("12345678")))), "that of the datagram")
	require.True(t, sum(frag4(17, 9, false, []byte("12345678"))))
	require.True(t, sum(ip4opt(6, []byte{131, 7, 4, 1, 2, 3, 4, 0}, tcp(packet.SYN, nil, nil))), "made with another address")
	short := seal(ip4(17, udp([]byte("12345678"))))
	require.False(t, sum(with(short, 25, 12)), "the length is part of it")
	p := packet.Packet{Length: 100, L4: 20, Tuple: packet.Tuple{Proto: 6, Family: 4}}
	require.False(t, p.Checksum(make([]byte, 40)), "cut short: it is unknown, so not right")
}

// FuzzChecksum: the fast sum is the slow one, whatever the bytes.
func FuzzChecksum(f *testing.F) {
	for _, s := range workload(64) {
		f.Add(s.b)
		f.Add(seal(s.b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p packet.Packet
		if packet.Decode(b, &p) != nil {
			return
		}
		want := p.L4 == 0 || slowChecksum(b, p)
		if got := p.Checksum(b); got != want {
			t.Fatalf("%v, want %v: %x", got, want, b)
		}
		if p.Tuple.Family == 4 {
			if got, want := packet.ChecksumIPv4(b), slowSum(b[:int(b[0]&15)*4]) == 0xffff; got != want {
				t.Fatalf("header: %v, want %v: %x", got, want, b)
			}
		}
	})
}

// TestChecksumProperty is FuzzChecksum over packets that are as they should be,
// or nearly.
func TestChecksumProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quote, _, _ := build(t, nil)
		b, _, _ := build(t, quote)
		if rapid.IntRange(0, 9).Draw(t, "seal") == 0 {
			seal(b)
		}
		if len(b) > 0 && rapid.Bool().Draw(t, "flip") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		var p packet.Packet
		if packet.Decode(b, &p) != nil {
			return
		}
		if got, want := p.Checksum(b), p.L4 == 0 || slowChecksum(b, p); got != want {
			t.Fatalf("%v, want %v: %x", got, want, b)
		}
	})
}

func TestChecksumAllocates(t *testing.T) {
	for _, s := range workload(1000) {
		var p packet.Packet
		if packet.Decode(s.b, &p) != nil {
			continue
		}
		require.Zero(t, testing.AllocsPerRun(100, func() { p.Checksum(s.b); packet.ChecksumIPv4(s.b) }), s.name)
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, size := range []int{0, 64, 1448, 9000, 65000} {
		for _, s := range []sample{
			{"tcp", ip4(6, tcp(packet.ACK, nil, make([]byte, size))), true},
			{"sctp", ip4(132, append([]byte{7: 3, 11: 0}, make([]byte, size)...)), true},
		} {
			b.Run(s.name+"/"+strconv.Itoa(size), func(b *testing.B) {
				var p packet.Packet
				if err := packet.Decode(s.b, &p); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(s.b)))
				b.ReportAllocs()
				for b.Loop() {
					p.Checksum(s.b)
				}
			})
		}
	}
	header := ip4(6, tcp(packet.ACK, nil, nil))
	b.Run("ipv4 header", func(b *testing.B) {
		for b.Loop() {
			packet.ChecksumIPv4(header)
		}
	})
}
