package enforce

import (
	"testing"

	"example.com/secgroup/conntrack/packet"

	"pgregory.net/rapid"
)

// TestSuspects: whatever is a LAND attack or has a martian address is suspected,
// and unicast addresses that are not near one are not, which is what the first
// look is for.
func TestSuspects(t *testing.T) {
	edge := rapid.OneOf(rapid.SampledFrom([]byte{0, 1, 126, 127, 128, 223, 224, 239, 240, 255}), rapid.Byte())
	rapid.Check(t, func(t *rapid.T) {
		p := packet.Packet{L4: 20, ICMPType: edge.Draw(t, "type")}
		tu := &p.Tuple
		tu.Family = rapid.SampledFrom([]uint8{4, 6}).Draw(t, "family")
		tu.Proto = rapid.SampledFrom([]uint8{2, packet.ProtoTCP, packet.ProtoUDP, packet.ProtoICMP, packet.ProtoICMPv6}).Draw(t, "protocol")
		tu.DstPort = rapid.SampledFrom([]uint16{67, 53}).Draw(t, "port")
		for _, a := range []*[16]byte{&tu.Src, &tu.Dst} {
			if tu.Family == 4 {
				a[10], a[11] = 0xff, 0xff
				for i := 12; i < 16; i++ {
					a[i] = edge.Draw(t, "byte")
				}
				continue
			}
			for i := range a {
				switch rapid.IntRange(0, 7).Draw(t, "kind") {
				case 0:
					a[i] = edge.Draw(t, "byte")
				case 1:
					a[i] = 0xff
				}
			}
		}
		if rapid.IntRange(0, 9).Draw(t, "land") == 0 {
			tu.Dst = tu.Src
		}
		bad := tu.Src == tu.Dst || martian(&p)
		if bad && !suspects(tu) {
			t.Fatalf("not suspected: %v", tu)
		}
		if !bad && suspects(tu) && tu.Family == 4 && 1 <= tu.Src[12] && tu.Src[12] < 127 && 128 <= tu.Dst[12] && tu.Dst[12] < 224 {
			t.Fatalf("suspected: %v", tu)
		}
	})
}
