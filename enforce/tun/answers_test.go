package tun

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack/packet"
)

// answersTo returns what a Filter that refuses everything says to a packet of
// the workload: what it writes into the device.
func answersTo(t *testing.T, o Answers, pkts ...[]byte) [][]byte {
	t.Helper()
	d := newMemDevice(memRead{pkts: pkts}, memRead{err: io.EOF})
	x := New(d, port(t, nil), FilterOptions{Answers: o})
	bufs, sizes := buffers(len(pkts), 0)
	n, err := x.Read(bufs, sizes, 0)
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, n)
	return d.got()
}

// One segment of every sort, and the reset that RFC 9293 3.10.7.1 asks for.
func TestAnswerReset(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for _, c := range []struct {
			name     string
			flags    string
			data     int
			seq, ack uint32
			wantAck  bool
		}{
			{"syn", "S", 0, 0, 1001, true},
			{"syn with data", "S", 10, 0, 1011, true},
			{"bare", "", 10, 0, 1010, true},
			{"fin", "F", 0, 0, 1001, true},
			{"syn fin", "SF", 5, 0, 1007, true},
			{"ack", "A", 10, 7000, 0, false},
			{"syn ack", "SA", 0, 7000, 0, false},
			{"fin ack", "FA", 1, 7000, 0, false},
		} {
			t.Run(c.name, func(t *testing.T) {
				pkt := spec{src: f.local, dst: f.remote, sport: 40000, dport: 22, flags: c.flags, seq: 1000, ack: 7000, data: pattern(c.data)}.build()
				// Straight to the maker: connection tracking would refuse some
				// of them before the policy does.
				var p packet.Packet
				require.NoError(t, packet.Decode(pkt, &p))
				dst := make([]byte, maxAnswer)
				a := newAnswerer(Answers{Reject: true})
				got := decode(t, dst[:a.refusal(dst, pkt, ir.ReasonNoRule)])
				addresses(t, got, f)
				tcp := got.TransportLayer().(*layers.TCP)
				require.Equal(t, layers.TCPPort(22), tcp.SrcPort)
				require.Equal(t, layers.TCPPort(40000), tcp.DstPort)
				require.Equal(t, c.seq, tcp.Seq)
				require.Equal(t, c.ack, tcp.Ack)
				require.True(t, tcp.RST)
				require.Equal(t, c.wantAck, tcp.ACK)
				require.False(t, tcp.SYN || tcp.FIN || tcp.PSH || tcp.URG)
				require.Zero(t, tcp.Window)
				require.Empty(t, tcp.Payload)
				require.Len(t, got.Data(), map[string]int{"ipv4": 40, "ipv6": 60}[f.name])
			})
		}
		// The same through a Filter, for the one that gets as far as the policy.
		got := answersTo(t, Answers{Reject: true}, syn(f.local, f.remote, 22))
		require.Len(t, got, 1)
		require.True(t, decode(t, got[0]).TransportLayer().(*layers.TCP).RST)
	})
}

// addresses checks the IP header of an answer to the workload.
func addresses(t *testing.T, p gopacket.Packet, f family) {
	t.Helper()
	src, dst := p.NetworkLayer().NetworkFlow().Endpoints()
	require.Equal(t, f.remote, src.String(), "in the name of the destination")
	require.Equal(t, f.local, dst.String())
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		require.EqualValues(t, 64, ip.TTL)
		require.Equal(t, layers.IPv4DontFragment, ip.Flags)
	case *layers.IPv6:
		require.EqualValues(t, 64, ip.HopLimit)
	}
}

// sctp is an SCTP packet to port 22 with its checksum.
func sctp() []byte {
	b := append([]byte{1, 1, 0, 22, 0, 0, 0, 9, 0, 0, 0, 0}, pattern(42)...)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestAnswerICMP(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		request := uint8(8)
		if f.name == "ipv6" {
			request = 128
		}
		for _, pkt := range [][]byte{
			udp(f.local, f.remote, 9999, 0), udp(f.local, f.remote, 9999, 3), udp(f.local, f.remote, 9999, 2000), echo(f.local, f.remote, request),
			spec{src: f.local, dst: f.remote, proto: 47, data: pattern(50)}.build(),
			spec{src: f.local, dst: f.remote, proto: 132, data: sctp()}.build(),
		} {
			got := answersTo(t, Answers{Reject: true}, pkt)
			require.Len(t, got, 1)
			p := decode(t, got[0])
			addresses(t, p, f)
			var quote []byte
			if f.name == "ipv4" {
				icmp := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
				require.Equal(t, layers.CreateICMPv4TypeCode(3, 13), icmp.TypeCode)
				require.Zero(t, icmp.Id)
				require.Zero(t, icmp.Seq)
				require.EqualValues(t, 0xc0, p.NetworkLayer().(*layers.IPv4).TOS)
				quote = icmp.Payload
				require.LessOrEqual(t, len(got[0]), 576)
				require.Len(t, quote, min(len(pkt), 548))
			} else {
				icmp := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
				require.Equal(t, layers.CreateICMPv6TypeCode(1, 1), icmp.TypeCode)
				require.Equal(t, []byte{0, 0, 0, 0}, icmp.Payload[:4])
				quote = icmp.Payload[4:]
				require.LessOrEqual(t, len(got[0]), 1280)
				require.Len(t, quote, min(len(pkt), 1232))
			}
			require.Equal(t, pkt[:len(quote)], quote)
		}
	})
}

// What is never answered.
func TestAnswerNever(t *testing.T) {
	fragment := func(pkt []byte, offset int, more bool) []byte {
		if pkt[0]>>4 == 4 {
			field := uint16(offset / 8)
			if more {
				field |= 0x2000
			}
			binary.BigEndian.PutUint16(pkt[6:], field)
			headerChecksum(pkt)
			return pkt
		}
		field := uint16(offset)
		if more {
			field |= 1
		}
		out := append([]byte(nil), pkt[:40]...)
		out = append(out, pkt[6], 0, byte(field>>8), byte(field), 0, 0, 0, 9)
		out = append(out, pkt[40:]...)
		out[6] = 44
		binary.BigEndian.PutUint16(out[4:], uint16(len(out)-40))
		return out
	}
	type item struct {
		name string
		pkt  []byte
	}
	quoted4 := append([]byte{0, 0, 0, 0}, udp(remote4, local4, 53, 10)...)
	quoted6 := append([]byte{0, 0, 0, 0}, udp(remote6, local6, 53, 10)...)
	items := []item{
		{"icmp error", icmpMessage(local4, remote4, append([]byte{3, 1, 0, 0}, quoted4...))},
		{"icmp redirect", icmpMessage(local4, remote4, append([]byte{5, 1, 0, 0}, quoted4...))},
		{"icmp of unknown type", icmpMessage(local4, remote4, []byte{42, 0, 0, 0, 0, 0, 0, 0})},
		{"icmpv6 error", icmpMessage(local6, remote6, append([]byte{1, 1, 0, 0}, quoted6...))},
		{"icmpv6 of unknown error", icmpMessage(local6, remote6, append([]byte{100, 0, 0, 0}, quoted6...))},
		{"icmpv6 redirect", icmpMessage(local6, remote6, append([]byte{137, 0, 0, 0}, pattern(36)...))},
		{"neighbour solicitation", icmpMessage(local6, remote6, append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, pattern(16)...))},
		{"router solicitation", icmpMessage(local6, "ff02::2", []byte{133, 0, 0, 0, 0, 0, 0, 0})},
		{"not a packet", []byte{0x45, 0}},
		{"to multicast", udp(local4, "224.0.0.251", 5353, 10)},
		{"to broadcast", udp(local4, "255.255.255.255", 67, 10)},
		{"to itself", udp(local4, "127.0.0.1", 67, 10)},
		{"to reserved", udp(local4, "240.0.0.1", 67, 10)},
		{"from nobody", udp("0.0.0.0", remote4, 67, 10)},
		{"from multicast", udp("224.0.0.1", remote4, 67, 10)},
		{"from broadcast", udp("255.255.255.255", remote4, 67, 10)},
		{"from loopback", udp("127.0.0.1", remote4, 67, 10)},
		{"to multicast 6", udp(local6, "ff02::fb", 5353, 10)},
		{"from nobody 6", udp("::", remote6, 5353, 10)},
		{"from multicast 6", udp("ff02::1", remote6, 5353, 10)},
		{"from loopback 6", udp("::1", remote6, 5353, 10)},
	}
	for _, f := range []family{{"4", local4, remote4}, {"6", local6, remote6}} {
		items = append(items,
			item{"reset " + f.name, spec{src: f.local, dst: f.remote, sport: 1, dport: 22, flags: "R"}.build()},
			item{"reset ack " + f.name, spec{src: f.local, dst: f.remote, sport: 1, dport: 22, flags: "RA"}.build()},
			item{"trailing fragment " + f.name, fragment(udp(f.local, f.remote, 9, 100), 80, false)})
	}
	dst := make([]byte, maxAnswer)
	for _, c := range items {
		t.Run(c.name, func(t *testing.T) {
			a := newAnswerer(Answers{Reject: true})
			require.Zero(t, a.refusal(dst, c.pkt, ir.ReasonNoRule))
			require.Zero(t, a.stats())
			require.Empty(t, answersTo(t, Answers{Reject: true}, c.pkt))
		})
	}
	t.Run("first fragment", func(t *testing.T) {
		for _, f := range []family{{"4", local4, remote4}, {"6", local6, remote6}} {
			// A segment gets an ICMP error: its length is not known, so what to
			// acknowledge is not.
			got := answersTo(t, Answers{Reject: true}, fragment(spec{src: f.local, dst: f.remote, dport: 22, flags: "S", data: pattern(36)}.build(), 0, true))
			require.Len(t, got, 1)
			require.Nil(t, decode(t, got[0]).Layer(layers.LayerTypeTCP))
		}
	})
	t.Run("other reasons", func(t *testing.T) {
		for _, r := range ir.Reasons() {
			want := map[ir.Reason]bool{
				ir.ReasonRule: true, ir.ReasonNoRule: true, ir.ReasonUnattached: true, ir.ReasonEmptyDirection: true, ir.ReasonPlatform: true,
			}[r]
			n := newAnswerer(Answers{Reject: true}).refusal(dst, syn(local4, remote4, 22), r)
			require.Equal(t, want, n > 0, "%v", r)
			require.Zero(t, newAnswerer(Answers{}).refusal(dst, syn(local4, remote4, 22), r), "off by default")
		}
	})
	t.Run("invalid state", func(t *testing.T) {
		require.Empty(t, answersTo(t, Answers{Reject: true}, spec{src: local4, dst: remote4, dport: 22, flags: "A"}.build()))
	})
}

// The answer to what was written comes out of the next Read, in turn and
// within a bound.
func TestAnswerQueue(t *testing.T) {
	d := newMemDevice(memRead{pkts: [][]byte{syn(local4, remote4, 443)}})
	x := New(d, port(t, web()), FilterOptions{Answers: Answers{Reject: true, Burst: 1000}})
	var batch [][]byte
	for i := range answerQueueLen + 5 {
		batch = append(batch, syn(remote4, local4, uint16(1000+i)))
	}
	n, err := x.Write(batch, 0)
	require.NoError(t, err)
	require.Len(t, batch, n)
	require.EqualValues(t, 5, x.Stats().Answers.Lost)
	const offset = 3
	bufs, sizes := buffers(40, offset)
	var got [][]byte
	for range 2 {
		n, err = x.Read(bufs, sizes, offset)
		require.NoError(t, err)
		got = append(got, packets(bufs, sizes, n, offset)...)
	}
	require.Len(t, got, answerQueueLen)
	for i, b := range got {
		p := decode(t, b)
		require.Equal(t, layers.TCPPort(1000+i), p.TransportLayer().(*layers.TCP).SrcPort)
		src, dst := p.NetworkLayer().NetworkFlow().Endpoints()
		require.Equal(t, local4, src.String())
		require.Equal(t, remote4, dst.String())
	}
	n, err = x.Read(bufs, sizes, offset)
	require.NoError(t, err)
	require.Equal(t, [][]byte{syn(local4, remote4, 443)}, packets(bufs, sizes, n, offset))
	require.EqualValues(t, answerQueueLen, x.Stats().Answers.Sent)

	// A buffer that is too small loses it.
	_, err = x.Write(batch[:1], 0)
	require.NoError(t, err)
	d.reads <- memRead{err: io.EOF}
	_, err = x.Read([][]byte{make([]byte, 39)}, sizes, 0)
	require.ErrorIs(t, err, io.EOF)
	require.EqualValues(t, 6, x.Stats().Answers.Lost)

	// Nothing comes after Close.
	_, err = x.Write(batch[:1], 0)
	require.NoError(t, err)
	require.NoError(t, x.Close())
	n, err = x.Read(bufs, sizes, 0)
	require.ErrorIs(t, err, os.ErrClosed)
	require.Zero(t, n)
}

// A Read that waits is woken, where the device can.
func TestAnswerWakes(t *testing.T) {
	d := wokenDevice{newMemDevice()}
	x := New(d, port(t, web()), FilterOptions{Answers: Answers{Reject: true}})
	got := make(chan []byte)
	go func() {
		bufs, sizes := buffers(1, 0)
		n, _ := x.Read(bufs, sizes, 0)
		got <- packets(bufs, sizes, n, 0)[0]
	}()
	_, err := x.Write([][]byte{udp(remote6, local6, 99, 10)}, 0)
	require.NoError(t, err)
	require.NotNil(t, decode(t, <-got).Layer(layers.LayerTypeICMPv6))
}

// An answer that the device does not take is counted.
func TestAnswerLost(t *testing.T) {
	d := newMemDevice(memRead{pkts: [][]byte{syn(local4, remote4, 22)}}, memRead{err: io.EOF})
	d.writeErr = errors.New("full")
	x := New(d, port(t, nil), FilterOptions{Answers: Answers{Reject: true}})
	bufs, sizes := buffers(1, 0)
	_, err := x.Read(bufs, sizes, 0)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, AnswerStats{Lost: 1}, x.Stats().Answers)
}

func TestAnswerRate(t *testing.T) {
	var now time.Time
	now = now.Add(time.Hour)
	a := newAnswerer(Answers{Reject: true, Rate: 10, Burst: 3, Now: func() time.Time { return now }})
	dst, pkt := make([]byte, maxAnswer), syn(local4, remote4, 22)
	var p packet.Packet
	require.NoError(t, packet.Decode(pkt, &p))
	burst := func() (n int) {
		for a.refusal(dst, pkt, ir.ReasonRule) > 0 {
			n++
		}
		return n
	}
	require.Equal(t, 3, burst())
	now = now.Add(99 * time.Millisecond)
	require.Zero(t, burst())
	now = now.Add(time.Millisecond)
	require.Equal(t, 1, burst())
	now = now.Add(-time.Hour)
	require.Zero(t, burst(), "a clock that goes back")
	now = now.Add(2 * time.Hour)
	require.Equal(t, 3, burst(), "no more than the burst")
	require.Equal(t, AnswerStats{LimitedRefusals: 5}, a.stats())
	for range 3 {
		require.NotZero(t, a.tooBig(dst, pkt, &p, 1400), "of another kind")
	}
	require.Zero(t, a.tooBig(dst, pkt, &p, 1400))
	require.Equal(t, AnswerStats{LimitedRefusals: 5, LimitedTooBig: 1}, a.stats())

	d := newAnswerer(Answers{})
	require.Equal(t, 1000.0, d.refusals.rate)
	require.Equal(t, 50.0, d.sizes.burst)
}

func TestAnswerTooBig(t *testing.T) {
	dst := make([]byte, maxAnswer)
	for _, c := range []struct {
		src, to string
		want    bool
	}{
		{local4, remote4, true}, {local6, remote6, true}, {local6, "ff0e::1", true}, {local4, "239.0.0.1", false}, {"::", remote6, false},
	} {
		pkt := udp(c.src, c.to, 53, 3000)
		var p packet.Packet
		require.NoError(t, packet.Decode(pkt, &p))
		n := newAnswerer(Answers{}).tooBig(dst, pkt, &p, 1400)
		require.Equal(t, c.want, n > 0, "%+v", c)
		if n == 0 {
			continue
		}
		got := decode(t, dst[:n])
		if icmp, ok := got.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
			require.Equal(t, layers.CreateICMPv4TypeCode(3, 4), icmp.TypeCode)
			require.EqualValues(t, 1400, icmp.Seq, "where the MTU stands (RFC 1191 4)")
			require.Zero(t, icmp.Id)
			continue
		}
		icmp := got.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
		require.Equal(t, layers.CreateICMPv6TypeCode(2, 0), icmp.TypeCode)
		require.EqualValues(t, 1400, binary.BigEndian.Uint32(icmp.Payload))
	}
}
