package tun

import (
	"encoding/binary"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

func TestHeader(t *testing.T) {
	h := header{flags: 1, gso: 2, hdrLen: 3, size: 4, start: 5, csumAt: 0x607}
	var b [HeaderLen]byte
	h.encode(b[:])
	var got header
	got.decode(b[:])
	require.Equal(t, h, got)
	require.Equal(t, uint16(0x607), binary.NativeEndian.Uint16(b[8:]))
	require.Equal(t, "none", Offload(0).String())
	require.Equal(t, "checksum+tso+ecn+uso", allOffloads.String())
	require.Equal(t, "tso", OffloadTSO.String())
}

// tcpData is a segment with n bytes of data, udpData a datagram.
func tcpData(src, dst string, n int) []byte {
	return spec{src: src, dst: dst, sport: 40000, dport: 443, flags: "A", seq: 1, ack: 1, data: pattern(n)}.build()
}

// Headers that lie, one way each. What is not said to lie must pass.
func TestFrameHostile(t *testing.T) {
	tcp4, tcp6 := tcpData(local4, remote4, 4000), tcpData(local6, remote6, 4000)
	udp4, udp6 := udp(local4, remote4, 53, 4000), udp(local6, remote6, 53, 4000)
	edit := func(frame []byte, change func(h *header, pkt []byte)) []byte {
		var h header
		b := append([]byte(nil), frame...)
		h.decode(b)
		change(&h, b[HeaderLen:])
		h.encode(b)
		if b[HeaderLen]>>4 == 4 {
			headerChecksum(b[HeaderLen:])
		}
		return b
	}
	s4, s6 := super(tcp4, 1400), super(tcp6, 1400)
	u4, u6 := super(udp4, 1000), super(udp6, 1000)
	small := udp(local4, remote4, 53, 20)
	open4 := framed(partial(small), small)
	ping := echo(local4, remote4, 8)
	for _, c := range []struct {
		name  string
		frame []byte
		want  bool
	}{
		{"tcp4", s4, true},
		{"tcp6", s6, true},
		{"udp4", u4, true},
		{"udp6", u6, true},
		{"checksum", open4, true},
		{"nothing", framed(header{}, small), true},
		{"verified", framed(header{flags: dataValid}, small), true},
		{"ecn", edit(s4, func(h *header, _ []byte) { h.gso |= gsoECN }), true},
		{"no decodable packet, no wish", framed(header{}, []byte{0x99}), true},
		{"stale fields without a wish", framed(header{hdrLen: 9999, size: 9, start: 60000, csumAt: 60000}, small), true},

		{"empty", nil, false},
		{"header alone", make([]byte, HeaderLen), false},
		{"too long", make([]byte, FrameSize+1), false},
		{"unknown flag", framed(header{flags: 8}, small), false},
		{"coalescing info", framed(header{flags: 4}, small), false},
		{"gso_size 0", edit(s4, func(h *header, _ []byte) { h.size = 0 }), false},
		{"gso_size 0, udp", edit(u4, func(h *header, _ []byte) { h.size = 0 }), false},
		{"gso_size 1: a storm of segments", edit(s4, func(h *header, _ []byte) { h.size = 1 }), false},
		{"129 datagrams", edit(u4, func(h *header, _ []byte) { h.size = 4000/129 + 0 }), false},
		{"gso without checksum", edit(s4, func(h *header, _ []byte) { h.flags = 0 }), false},
		{"unknown gso", edit(s4, func(h *header, _ []byte) { h.gso = 2 }), false},
		{"old udp fragmentation", edit(u4, func(h *header, _ []byte) { h.gso = 3 }), false},
		{"udp tunnel gso", edit(s4, func(h *header, _ []byte) { h.gso |= 0x20 }), false},
		{"ecn alone", edit(s4, func(h *header, _ []byte) { h.gso = gsoECN }), false},
		{"udp with ecn", edit(u4, func(h *header, _ []byte) { h.gso |= gsoECN }), false},
		{"tcp4 says tcp6", edit(s4, func(h *header, _ []byte) { h.gso = gsoTCP6 }), false},
		{"tcp6 says tcp4", edit(s6, func(h *header, _ []byte) { h.gso = gsoTCP4 }), false},
		{"tcp says udp", edit(s4, func(h *header, _ []byte) { h.gso, h.csumAt = gsoUDP, 6 }), false},
		{"udp says tcp", edit(u4, func(h *header, _ []byte) { h.gso, h.csumAt = gsoTCP4, 16 }), false},
		{"hdr_len beyond the packet", edit(s4, func(h *header, _ []byte) { h.hdrLen = 5000 }), false},
		{"hdr_len 0", edit(s4, func(h *header, _ []byte) { h.hdrLen = 0 }), true},
		{"csum_start beyond", edit(s4, func(h *header, _ []byte) { h.start = 65000 }), false},
		{"csum_start in the ip header", edit(s4, func(h *header, _ []byte) { h.start = 10 }), false},
		{"csum_offset of another protocol", edit(s4, func(h *header, _ []byte) { h.csumAt = 6 }), false},
		{"csum_offset at the port", edit(s4, func(h *header, _ []byte) { h.csumAt = 2 }), false},
		{"udp: csum_offset at the port", edit(u4, func(h *header, _ []byte) { h.csumAt = 2 }), false},
		{"syn in every segment", edit(s4, func(_ *header, p []byte) { p[33] |= 2 }), false},
		{"rst in every segment", edit(s4, func(_ *header, p []byte) { p[33] |= 4 }), false},
		{"longer than ip says", edit(s4, func(_ *header, p []byte) { binary.BigEndian.PutUint16(p[2:], 100) }), false},
		{"shorter than ip says", edit(s4, func(_ *header, p []byte) { binary.BigEndian.PutUint16(p[2:], 60000) }), false},
		{"udp length of one datagram", edit(u4, func(_ *header, p []byte) { binary.BigEndian.PutUint16(p[24:], 1008) }), false},
		{"super-fragment", edit(s4, func(_ *header, p []byte) { p[6] |= 0x20 }), false},
		{"not decodable", edit(s4, func(_ *header, p []byte) { p[0] = 0x41 }), false},

		{"checksum over the ip header", framed(header{flags: 1, start: 0, csumAt: 10}, small), false},
		{"checksum over the destination", framed(header{flags: 1, start: 0, csumAt: 16}, small), false},
		{"checksum over the port", framed(header{flags: 1, start: 20, csumAt: 2}, small), false},
		{"checksum half over the length", framed(header{flags: 1, start: 20, csumAt: 5}, small), false},
		{"checksum from elsewhere", framed(header{flags: 1, start: 16, csumAt: 10}, small), false},
		{"checksum at the end", framed(header{flags: 1, start: 28, csumAt: 18}, small), true},
		{"checksum beyond the end", framed(header{flags: 1, start: 28, csumAt: 19}, small), false},
		{"checksum far beyond", framed(header{flags: 1, start: 65535, csumAt: 65535}, small), false},
		{"checksum of a tunnelled packet", framed(header{flags: 1, start: 28, csumAt: 6}, small), true},
		{"checksum of icmp", framed(header{flags: 1, start: 20, csumAt: 2}, ping), true},
		{"checksum over the icmp identifier", framed(header{flags: 1, start: 20, csumAt: 4}, ping), false},
		{"checksum over a quote", framed(header{flags: 1, start: 28, csumAt: 4}, ping), false},
		{"checksum over tcp options", framed(header{flags: 1, start: 40, csumAt: 0},
			spec{src: local4, dst: remote4, flags: "S", options: []layers.TCPOption{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 0}}}}.build()), false},
		{"checksum over sctp ports", framed(header{flags: 1, start: 20, csumAt: 2}, spec{src: local4, dst: remote4, proto: 132, data: pattern(40)}.build()), false},
		{"checksum in sctp data", framed(header{flags: 1, start: 32, csumAt: 2}, spec{src: local4, dst: remote4, proto: 132, data: pattern(40)}.build()), true},
		{"checksum in gre", framed(header{flags: 1, start: 24, csumAt: 6}, spec{src: local4, dst: remote4, proto: 47, data: pattern(40)}.build()), true},
		{"checksum of a first fragment", edit(open4, func(_ *header, p []byte) { p[6] |= 0x20; binary.BigEndian.PutUint16(p[2:], 44) }), false},
		{"checksum of a trailing fragment", edit(open4, func(_ *header, p []byte) { p[7] = 9 }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f frame
			require.Equal(t, c.want, f.parse(c.frame))
			if !c.want {
				return
			}
			require.Zero(t, f.h.flags&^needsChecksum, "nothing is vouched for")
			if f.h.gso != gsoNone {
				require.EqualValues(t, f.head, f.h.hdrLen)
			}
		})
	}
}

// A wrong header checksum of IPv4 goes no further, whole or in pieces: nobody
// may repair it (RFC 1122 3.2.1.2).
func TestFrameChecksum(t *testing.T) {
	for name, pkt := range map[string][]byte{"whole": udp(local4, remote4, 53, 100), "fragments": udp(local4, remote4, 53, 3000)} {
		for byteAt := range 20 {
			if byteAt == 0 || byteAt == 2 { // not decodable then
				continue
			}
			bad := clone(pkt)
			bad[byteAt] ^= 1
			w, from, to := newTestForwarder(allOffloads, port(t, everything()), Answers{Reject: true})
			w.ingress = port(t, web())
			require.NoError(t, w.forward(framed(header{}, bad)))
			require.Empty(t, to.got(), name)
			require.Empty(t, from.got(), "no answer either")
			drops := w.drops.load()
			require.EqualValues(t, 1, drops.Total(), "%s, byte %d", name, byteAt)
			require.EqualValues(t, 1, drops.Checksum+drops.Malformed, "%s, byte %d: the length may be impossible too", name, byteAt)
		}
	}
	for _, o := range []Offload{0, allOffloads} { // as it is, and cut up
		bad := tcpData(local4, remote4, 4000)
		bad[8]--
		w, _, to := newTestForwarder(o, nil, Answers{})
		require.NoError(t, w.forward(super(bad, 1400)))
		require.Empty(t, to.got())
		require.Equal(t, Drops{Checksum: 1}, w.drops.load())
	}
	bad := udp(local4, remote4, 53, 100)
	bad[10]++
	good := udp(local4, remote4, 53, 7)
	q, _ := memQueue(0, bad, good)
	bufs, sizes := buffers(2, 0)
	n, err := q.Read(bufs, sizes, 0)
	require.NoError(t, err)
	require.Equal(t, [][]byte{good}, packets(bufs, sizes, n, 0))
	require.Equal(t, Drops{Checksum: 1}, q.Drops())
}

// Bytes behind the packet go no further: no verdict covers them.
func TestFramePadding(t *testing.T) {
	pkt := udp(local4, remote4, 53, 20)
	var f frame
	require.True(t, f.parse(framed(header{}, append(append([]byte(nil), pkt...), "secret"...))))
	require.Equal(t, pkt, f.pkt)
	require.Len(t, f.b, HeaderLen+len(pkt))
}
