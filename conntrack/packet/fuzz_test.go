package packet_test

import (
	"testing"

	"example.com/secgroup/conntrack/packet"

	"pgregory.net/rapid"
)

// fataler is what the invariants need of testing.T, testing.F and rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkInvariants decodes b and fails if the result breaks a promise of
// Decode, whatever b is.
func checkInvariants(t fataler, b []byte) (packet.Packet, error) {
	t.Helper()
	b = b[:len(b):len(b)]
	var p packet.Packet
	q := dirty()
	err := packet.Decode(b, &p)
	if err2 := packet.Decode(b, &q); err2 != err || p != q {
		t.Fatalf("depends on the previous packet:\n%+v, %v\n%+v, %v", p, err, q, err2)
	}
	if err2 := packet.DecodeLong(b, &q); err2 != err || p != q {
		t.Fatalf("the short way and the long one:\n%+v, %v\n%+v, %v", p, err, q, err2)
	}
	if err != nil {
		e, ok := err.(packet.Error)
		if !ok || e < packet.ErrTruncated || e > packet.ErrTinyFragment {
			t.Fatalf("error of another kind: %#v", err)
		}
		want := packet.Packet{Tuple: packet.Tuple{Src: p.Tuple.Src, Dst: p.Tuple.Dst, Proto: p.Tuple.Proto, Family: p.Tuple.Family}}
		if p != want || p.Tuple.Family == 0 && p != (packet.Packet{}) {
			t.Fatalf("a refused packet leaves %+v", p)
		}
		return p, err
	}

	header := map[uint8]int{4: 20, 6: 40}[p.Tuple.Family]
	switch {
	case header == 0 || p.Tuple.Family != b[0]>>4:
		t.Fatalf("family: %+v", p)
	case int(p.Length) > len(b) || int(p.Length) < header:
		t.Fatalf("length: %+v", p)
	case p.Trailing() != (p.L4 == 0):
		t.Fatalf("transport header of a trailing fragment: %+v", p)
	case p.L4 != 0 && (int(p.L4) < header || int(p.L4)+int(p.Data) > int(p.Length)):
		t.Fatalf("transport header beyond the packet: %+v", p)
	case p.Trailing() && int(p.Data) != int(p.FragSize):
		t.Fatalf("data of a trailing fragment: %+v", p)
	case p.Fragment && (p.FragSize == 0 || int(p.FragOffset)*8+int(p.FragSize) > 65535 || p.MoreFrags && p.FragSize%8 != 0):
		t.Fatalf("impossible fragment: %+v", p)
	case p.Fragment && p.FragOffset == 0 && !p.MoreFrags:
		t.Fatalf("a whole packet is a fragment: %+v", p)
	case !p.Fragment && (p.FragID != 0 || p.FragOffset != 0 || p.FragSize != 0 || p.MoreFrags):
		t.Fatalf("fields of a fragment: %+v", p)
	case p.Tuple.Family == 4 && !p.Tuple.SrcAddr().Is4(), p.Tuple.Family == 6 && !p.Tuple.SrcAddr().Is6():
		t.Fatalf("address of another family: %v", p.Tuple)
	case p.Inner.Tuple.Family == 0 && p.Inner != (packet.Quote{}), p.Inner.Tuple.Family != 0 && (p.Inner.Tuple.Family != p.Tuple.Family || !p.IsICMPError()):
		t.Fatalf("quote: %+v", p)
	case p.Tuple.SrcPort|p.Tuple.DstPort != 0 && !p.Tuple.HasPorts() && !p.IsICMPQuery():
		t.Fatalf("ports of a protocol without: %+v", p)
	case p.IsICMPQuery() && p.IsICMPError():
		t.Fatalf("query and error: %+v", p)
	case p.HasScale && p.Flags&packet.SYN == 0, !p.HasScale && p.Scale != 0, p.Scale > 14:
		t.Fatalf("window scale: %+v", p)
	case p.Tuple.Proto != packet.ProtoTCP && (p.Flags != 0 || p.Seq != 0 || p.Ack != 0 || p.Window != 0 || p.HasScale || p.SACKPermitted || p.SACK != 0):
		t.Fatalf("TCP fields of another protocol: %+v", p)
	case p.SACKPermitted && p.Flags&packet.SYN == 0, p.SACK != p.Ack && int32(p.Ack-p.SACK) >= 0:
		t.Fatalf("SACK: %+v", p)
	}
	return p, nil
}

// FuzzDecode: no bytes make Decode panic or break a promise, and where
// gopacket decodes a whole packet too, the two agree.
func FuzzDecode(f *testing.F) {
	for _, s := range workload(16) {
		f.Add(s.b)
	}
	f.Add(ip6(44, frag6(60, 0, true), opts(17), udp(nil)))
	f.Add(ip6(44, frag6(17, 0, false), udp(nil)))
	f.Add(ip6(43, []byte{6, 0, 4, 1, 0, 0, 0, 0}, tcp(packet.SYN, nil, nil)))
	f.Add(ip6(51, []byte{6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, tcp(packet.SYN, nil, nil)))
	f.Add(ip6(50, []byte{1, 2, 3}))
	f.Add(ip6(58, icmp(3, 0, ip6(0, opts(6), tcp(0, nil, nil)))))
	f.Add(ip4(132, make([]byte, 12)))
	f.Add(ip4opt(6, []byte{131, 7, 4, 1, 2, 3, 4, 0}, tcp(packet.SYN, []byte{3, 3, 7, 0}, nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := checkInvariants(t, b)
		if err != nil || p.Fragment {
			return
		}
		if s, ok := oracle(b[:p.Length]); ok {
			if diff := compare(p, s); diff != "" {
				t.Fatalf("%s\n%+v", diff, p)
			}
		}
	})
}

// TestTruncated: no packet decodes without its last byte.
func TestTruncated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quote, _, _ := build(t, nil)
		b, _, _ := build(t, quote)
		n := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if p, err := checkInvariants(t, b[:n]); err == nil {
			t.Fatalf("%d of %d bytes decode to %+v", n, len(b), p)
		}
	})
}

// TestMutated: no change of a valid packet breaks a promise. The fields with
// lengths and types stand in the first bytes, so most changes go there.
func TestMutated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quote, _, _ := build(t, nil)
		b, _, _ := build(t, quote)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			i := rapid.IntRange(0, len(b)-1).Draw(t, "at")
			b[i] = rapid.Byte().Draw(t, "byte")
		}
		b = b[:rapid.IntRange(len(b)/2, len(b)).Draw(t, "cut")]
		checkInvariants(t, b)
	})
}

// TestPadded: bytes behind the packet change nothing.
func TestPadded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quote, _, _ := build(t, nil)
		b, _, _ := build(t, quote)
		p, err := checkInvariants(t, b)
		padded, err2 := checkInvariants(t, append(b, rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "padding")...))
		if err != nil || err2 != nil || p != padded {
			t.Fatalf("padding changes\n%+v, %v into\n%+v, %v", p, err, padded, err2)
		}
	})
}
