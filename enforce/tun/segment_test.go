package tun

import (
	"encoding/binary"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/conntrack/packet"
)

// slowSplit is the oracle: it builds every packet of a super-packet anew, from
// what the super-packet was built from.
func slowSplit(s spec, size int) [][]byte {
	var out [][]byte
	for off := 0; off < len(s.data); off += size {
		p := s
		p.data = s.data[off:min(off+size, len(s.data))]
		p.id = s.id + uint16(len(out))
		p.seq = s.seq + uint32(off)
		p.flags = ""
		for _, f := range s.flags {
			if f == 'C' && off > 0 || (f == 'F' || f == 'P') && off+size < len(s.data) {
				continue
			}
			p.flags += string(f)
		}
		out = append(out, p.build())
	}
	return out
}

func drawSpec(t *rapid.T) spec {
	f := rapid.SampledFrom([]family{{"", local4, remote4}, {"", local6, remote6}}).Draw(t, "family")
	s := spec{
		src: f.local, dst: f.remote, sport: rapid.Uint16().Draw(t, "sport"), dport: 443, id: rapid.Uint16().Draw(t, "id"), df: rapid.Bool().Draw(t, "df"),
		proto: rapid.SampledFrom([]layers.IPProtocol{layers.IPProtocolTCP, layers.IPProtocolUDP}).Draw(t, "proto"),
		data:  rapid.SliceOfN(rapid.Byte(), 1, 5000).Draw(t, "data"),
	}
	if rapid.Bool().Draw(t, "ip options") {
		s.ipOptions = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	}
	if s.proto == layers.IPProtocolTCP {
		s.flags = rapid.SampledFrom([]string{"A", "AP", "AF", "APF", "AC", "APFC", ""}).Draw(t, "flags")
		s.seq, s.ack = rapid.Uint32().Draw(t, "seq"), rapid.Uint32().Draw(t, "ack")
		if rapid.Bool().Draw(t, "options") {
			s.options = []layers.TCPOption{{OptionType: 1}, {OptionType: 1}, {OptionType: 8, OptionLength: 10, OptionData: []byte{1, 2, 3, 4, 5, 6, 7, 8}}}
		}
	}
	return s
}

// Segments are what the sender would have built, byte by byte.
func TestSegmentsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSpec(t)
		size := rapid.IntRange(max(minTCP, len(s.data)/maxUDP+1), 1500).Draw(t, "size")
		want := slowSplit(s, size)
		var f frame
		require.True(t, f.parse(super(s.build(), uint16(size))))
		if len(want) == 1 {
			require.EqualValues(t, gsoNone, f.h.gso, "one segment is no super-packet")
			f.complete()
			require.Equal(t, want[0], f.pkt)
			return
		}
		var r segments
		var got [][]byte
		for r.cut(&f); r.rest(); {
			dst := make([]byte, r.size())
			require.Equal(t, len(dst), r.write(dst))
			got = append(got, dst)
		}
		require.Equal(t, want, got)
		for _, pkt := range got {
			require.Empty(t, badChecksum(pkt))
		}
	})
}

// A checksum left open is filled in as the sender would have.
func TestCompleteProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawSpec(t).build()
		pkt := append([]byte(nil), want...)
		b := framed(partial(pkt), pkt)
		var f frame
		require.True(t, f.parse(b))
		f.complete()
		require.Equal(t, want, f.pkt)
		require.Zero(t, f.h)
	})
}

func TestChecksumProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x80, 0xfe, 0xff}), 0, 300).Draw(t, "b")
		require.Equal(t, slowSum(b), packet.Fold(packet.Sum(b, 0)))
	})
}

// A sum of only ones is the largest there is.
func TestChecksumCarry(t *testing.T) {
	for n := range 200 {
		b := make([]byte, n)
		for i := range b {
			b[i] = 0xff
		}
		require.Equal(t, slowSum(b), packet.Fold(packet.Sum(b, 0)), "%d", n)
		require.Equal(t, slowSum(append(b, 0xff)[:n&^1]), packet.Fold(packet.Sum(b[:n&^1], 0)))
	}
	// The zero checksum is written as 0xffff.
	var b [2]byte
	putChecksum(b[:], 0xffff)
	require.Equal(t, [2]byte{0xff, 0xff}, b)
	putChecksum(b[:], 1)
	require.Equal(t, [2]byte{0xff, 0xfe}, b)
}

// Fragments put together again are the datagram, whatever it was cut into, and
// fragments of fragments too.
func TestFragmentsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := spec{
			src: local4, dst: remote4, proto: layers.IPProtocolUDP, sport: 1, dport: 53, id: 77,
			data: rapid.SliceOfN(rapid.Byte(), 1, 6000).Draw(t, "data"),
		}
		if rapid.Bool().Draw(t, "options") { // one that goes into every fragment, one that does not
			s.ipOptions = []layers.IPv4Option{
				{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}, {OptionType: 68, OptionLength: 8, OptionData: []byte{5, 0, 0, 0, 0, 0}},
			}
		}
		pkt := s.build()
		head := int(pkt[0]&15) * 4
		mtu := rapid.IntRange(head+8, 2000).Draw(t, "mtu")
		got := cutInto(t, pkt, mtu)
		if again := rapid.IntRange(head+8, 2000).Draw(t, "again"); again < mtu {
			var twice [][]byte
			for _, g := range got {
				twice = append(twice, cutInto(t, g, again)...)
			}
			got = twice
		}
		require.Equal(t, pkt[head:], reassemble(t, got))
	})
}

func cutInto(t *rapid.T, pkt []byte, mtu int) [][]byte {
	var c fragments
	require.True(t, c.cut(pkt, mtu))
	var out [][]byte
	for c.rest() {
		dst := make([]byte, mtu)
		dst = dst[:c.write(dst)]
		require.Empty(t, badChecksum(dst))
		if c.next-c.data > c.head && len(out) > 0 && pkt[0]&15 > 5 {
			require.Equal(t, pkt[20:24], dst[20:24], "an option for every fragment")
			require.Equal(t, []byte{1, 1, 1, 1, 1, 1, 1, 1}, dst[24:32], "one for the first only")
		}
		out = append(out, dst)
	}
	return out
}

// reassemble puts fragments together that come in order.
func reassemble(t require.TestingT, frags [][]byte) []byte {
	var data []byte
	for i, f := range frags {
		var p packet.Packet
		require.NoError(t, packet.Decode(f, &p))
		require.EqualValues(t, 77, binary.BigEndian.Uint16(f[4:]))
		head := int(f[0]&15) * 4
		if len(frags) > 1 {
			require.True(t, p.Fragment)
			require.Equal(t, len(data), int(p.FragOffset)*8)
			require.Equal(t, i < len(frags)-1, p.MoreFrags)
		}
		data = append(data, f[head:]...)
	}
	return data
}

func TestFragmentsNoRoom(t *testing.T) {
	var c fragments
	require.False(t, c.cut(udp(local4, remote4, 53, 100), 27))
	require.True(t, c.cut(udp(local4, remote4, 53, 100), 28))
}
