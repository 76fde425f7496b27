package main

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/conntrack/packet"
)

// corpus returns packets of every kind that the decoder knows, whole and right.
func corpus(r *rand.Rand, v4, v6 netip.Addr) [][]byte {
	var out [][]byte
	add := func(t packet.Tuple, h workload.Header) { out = append(out, workload.AppendPacket(nil, t, h)) }
	for _, to := range []netip.Addr{v4, v6} {
		for _, flags := range []uint8{packet.SYN, packet.SYN | packet.ACK, packet.ACK, packet.FIN | packet.ACK, packet.RST} {
			add(tuple(r, to, packet.ProtoTCP, 443), workload.Header{Flags: flags, Seq: 1, Ack: 1, Data: r.IntN(64)})
		}
		for _, proto := range []uint8{packet.ProtoUDP, packet.ProtoSCTP, 47, 50} {
			add(tuple(r, to, proto, 53), workload.Header{Data: r.IntN(64)})
		}
		ping := packet.ProtoICMP
		types := []uint8{0, 3, 5, 8, 11, 12, 13}
		if to.Is6() {
			ping, types = packet.ProtoICMPv6, []uint8{1, 2, 3, 4, 128, 129, 133, 134, 135, 136, 137, 143}
		}
		for _, kind := range types {
			t := tuple(r, to, ping, 0)
			t.DstPort = t.SrcPort
			add(t, workload.Header{ICMPType: kind, Data: 48})
		}
	}
	for _, b := range out {
		if b[0]>>4 == 4 {
			out = append(out, quoting(b, []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, 1, 0, 0}, 3), withOptions(b, []byte{7, 7, 4, 1, 2, 3, 4, 0}))
		} else {
			out = append(out, chained(b, []byte{0, 43, 44, 60, 51, 135}[r.IntN(6)]), chained(chained(b, 60), 0), chained(b, 44))
		}
	}
	return out
}

// quoting returns an ICMP error, sent to the sender of the IPv4 packet b, that
// quotes b.
func quoting(b, header []byte, kind byte) []byte {
	out := append([]byte{}, header...)
	out = append(out, b[16:20]...)
	out = append(out, b[12:16]...)
	out = append(out, kind, 1, 0, 0, 0, 0, 0, 0)
	out = append(out, b...)
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	return out
}

// withOptions returns the IPv4 packet b with options, of which there are a multiple
// of four bytes.
func withOptions(b, opts []byte) []byte {
	out := append([]byte{}, b[:20]...)
	out = append(out, opts...)
	out = append(out, b[20:]...)
	out[0] += byte(len(opts) / 4)
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	return out
}

// chained returns the IPv6 packet b with an extension header in front of its
// payload.
func chained(b []byte, kind byte) []byte {
	out := append([]byte{}, b[:40]...)
	out = append(out, b[6], 0, 0, 0, 0, 0, 0, 0)
	if kind == 51 { // of AH the length counts words of four bytes, less two
		out[41] = 1
		out = append(out, 0, 0, 0, 0)
	}
	out[6] = kind
	out = append(out, b[40:]...)
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)-40))
	return out
}

// mutate makes buf a mutation of b and returns it, at its full capacity: reading
// beyond it panics. It allocates nothing if buf has room.
func mutate(r *rand.Rand, buf, b []byte) []byte {
	buf = append(buf[:0], b...)
	for range 1 + r.IntN(3) {
		if len(buf) == 0 {
			break
		}
		head := min(len(buf), 64) // where lengths and types are
		switch at := r.IntN(head); r.IntN(8) {
		case 0: // truncated
			buf = buf[:r.IntN(len(buf)+1)]
		case 1, 2: // a bit flipped
			buf[at] ^= 1 << r.IntN(8)
		case 3: // another byte
			buf[at] = byte(r.Uint32())
		case 4: // a lying length: of the packet, the header, the datagram
			switch {
			case buf[0]>>4 == 4 && len(buf) >= 4:
				binary.BigEndian.PutUint16(buf[2:], uint16(lie(r, len(buf))))
			case len(buf) >= 6:
				binary.BigEndian.PutUint16(buf[4:], uint16(lie(r, len(buf)-40)))
			}
		case 5:
			if buf[0]>>4 == 4 {
				buf[0] = 0x40 | byte(r.IntN(16)) // IHL
			} else if len(buf) > 6 {
				buf[6] = []byte{0, 43, 44, 50, 51, 59, 60, 135, 139, 140, 253, 58, 6, 17, 132}[r.IntN(15)]
			}
		case 6: // a fragment
			if buf[0]>>4 == 4 && len(buf) >= 8 {
				binary.BigEndian.PutUint16(buf[6:], uint16(r.Uint32()))
			}
		case 7: // a field at one of its borders
			buf[at] = []byte{0, 1, 0x7f, 0x80, 0xff}[r.IntN(5)]
		}
	}
	return buf[:len(buf):len(buf)]
}

// lie returns a length near n, or anywhere.
func lie(r *rand.Rand, n int) int {
	if r.IntN(4) == 0 {
		return r.IntN(65536)
	}
	return max(0, n+r.IntN(33)-16)
}
