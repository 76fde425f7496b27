package packet_test

import (
	"reflect"
	"testing"
	"unsafe"

	"example.com/secgroup/conntrack/packet"
)

// TestDecode compares every field. The first packets were captured on the
// loopback interface of Linux.
func TestDecode(t *testing.T) {
	home4 := func(proto uint8, src, dst uint16) packet.Tuple {
		r := tuple(t, proto, "127.0.0.1:0", "127.0.0.1:0")
		r.SrcPort, r.DstPort = src, dst
		return r
	}
	home6 := func(proto uint8, src, dst uint16) packet.Tuple {
		r := tuple(t, proto, "[::1]:0", "[::1]:0")
		r.SrcPort, r.DstPort = src, dst
		return r
	}
	t4 := func(proto uint8, src, dst uint16) packet.Tuple {
		r := tuple(t, proto, "192.0.2.7:0", "10.0.0.5:0")
		r.SrcPort, r.DstPort = src, dst
		return r
	}
	t6 := func(proto uint8, src, dst uint16) packet.Tuple {
		r := tuple(t, proto, "[2001:db8::7]:0", "[2001:db8::5]:0")
		r.SrcPort, r.DstPort = src, dst
		return r
	}
	dest := append([]byte{17, 1, 1, 12}, make([]byte, 12)...)
	for _, tt := range []struct {
		name string
		b    []byte
		want packet.Packet
	}{
		{"SYN", unhex(t, "4500003c04ba4000400638007f0000017f000001903aaf6931209f6800000000a002ffd7fe3000000204ffd70402080a195d7b89000000000103030a"), packet.Packet{
			Tuple: home4(6, 36922, 44905), Length: 60, L4: 20, HopLimit: 64,
			Seq: 0x31209f68, Flags: packet.SYN, Window: 65495, HasScale: true, Scale: 10, SACKPermitted: true,
		}},
		{"SYN-ACK", unhex(t, "4500003c0000400040063cba7f0000017f000001af69903a874e04f131209f69a012ffcbfe3000000204ffd70402080a7af05e85195d7b890103030a"), packet.Packet{
			Tuple: home4(6, 44905, 36922), Length: 60, L4: 20, HopLimit: 64,
			Seq: 0x874e04f1, Ack: 0x31209f69, Flags: packet.SYN | packet.ACK, Window: 65483, HasScale: true, Scale: 10, SACKPermitted: true, SACK: 0x31209f69,
		}},
		{"data", unhex(t, "4500003604bc4000400638047f0000017f000001903aaf6931209f69874e04f280180040fe2a00000101080a195d7b897af05e856869"), packet.Packet{
			Tuple: home4(6, 36922, 44905), Length: 54, L4: 20, HopLimit: 64, Data: 2,
			Seq: 0x31209f69, Ack: 0x874e04f2, SACK: 0x874e04f2, Flags: packet.PSH | packet.ACK, Window: 64,
		}},
		{"UDP", unhex(t, "45000020561840004011e6b27f0000017f000001c5010009000cfe1f70696e67"), packet.Packet{
			Tuple: home4(17, 50433, 9), Length: 32, L4: 20, HopLimit: 64, Data: 4,
		}},
		{"port unreachable", unhex(t, "45c0003c3bed0000400140127f0000017f00000103035af50000000045000020561840004011e6b27f0000017f000001c5010009000cfe1f70696e67"), packet.Packet{
			Tuple: home4(1, 0, 0), Inner: packet.Quote{Tuple: home4(17, 50433, 9)},
			Length: 60, L4: 20, HopLimit: 64, Data: 32, ICMPType: 3, ICMPCode: 3,
		}},
		{"SYN v6", unhex(t, "60087bc4002806400000000000000000000000000000000100000000000000000000000000000001be02e24f69bcfe3100000000a002ffc4003000000204ffc40402080a180320a1000000000103030a"), packet.Packet{
			Tuple: home6(6, 48642, 57935), Length: 80, L4: 40, HopLimit: 64,
			Seq: 0x69bcfe31, Flags: packet.SYN, Window: 65476, HasScale: true, Scale: 10, SACKPermitted: true,
		}},
		{"RST v6", unhex(t, "60009306002006400000000000000000000000000000000100000000000000000000000000000001e24fbe0275a41b9c69bcfe3580140040002800000101080af242770d180321ce"), packet.Packet{
			Tuple: home6(6, 57935, 48642), Length: 72, L4: 40, HopLimit: 64,
			Seq: 0x75a41b9c, Ack: 0x69bcfe35, SACK: 0x69bcfe35, Flags: packet.RST | packet.ACK, Window: 64,
		}},
		{"port unreachable v6", unhex(t, "60000708003c3a400000000000000000000000000000000100000000000000000000000000000001010475b900000000600c793d000c11400000000000000000000000000000000100000000000000000000000000000001bf2d0009000c001f70696e67"), packet.Packet{
			Tuple: home6(58, 0, 0), Inner: packet.Quote{Tuple: home6(17, 48941, 9)},
			Length: 100, L4: 40, HopLimit: 64, Data: 52, ICMPType: 1, ICMPCode: 4,
		}},
		{"echo", ip4(1, icmp(8, 0, []byte("data"))), packet.Packet{
			Tuple: t4(1, 77, 77), Length: 32, L4: 20, HopLimit: 64, Data: 4, ICMPType: 8,
		}},
		{"echo reply v6", ip6(58, icmp(129, 0, nil)), packet.Packet{
			Tuple: t6(58, 77, 77), Length: 48, L4: 40, HopLimit: 64, ICMPType: 129,
		}},
		{"neighbour solicitation", ip6(58, icmp(135, 0, make([]byte, 16))), packet.Packet{
			Tuple: t6(58, 0, 0), Length: 64, L4: 40, HopLimit: 64, Data: 16, ICMPType: 135,
		}},
		{"SCTP", ip4(132, cat(udp(nil), make([]byte, 8))), packet.Packet{
			Tuple: t4(132, 5353, 53), Length: 36, L4: 20, HopLimit: 64, Data: 4,
		}},
		{"GRE", ip4(47, make([]byte, 12)), packet.Packet{
			Tuple: t4(47, 0, 0), Length: 32, L4: 20, HopLimit: 64, Data: 12,
		}},
		{"first fragment", frag4(17, 0, true, udp(make([]byte, 8))), packet.Packet{
			Tuple: t4(17, 5353, 53), Length: 36, L4: 20, HopLimit: 64, Data: 8,
			FragID: 0x1234, FragSize: 16, Fragment: true, MoreFrags: true,
		}},
		{"first fragment, UDP length of the whole", with(frag4(17, 0, true, udp(make([]byte, 8))), 24, 9), packet.Packet{
			Tuple: t4(17, 5353, 53), Length: 36, L4: 20, HopLimit: 64, Data: 8,
			FragID: 0x1234, FragSize: 16, Fragment: true, MoreFrags: true,
		}},
		{"last fragment", frag4(17, 2, false, make([]byte, 5)), packet.Packet{
			Tuple: t4(17, 0, 0), Length: 25, HopLimit: 64, Data: 5,
			FragID: 0x1234, FragOffset: 2, FragSize: 5, Fragment: true,
		}},
		{"first fragment v6 with options", ip6(44, frag6(60, 0, true), dest, udp(nil)), packet.Packet{
			Tuple: t6(17, 5353, 53), Length: 72, L4: 64, HopLimit: 64,
			FragID: 0x1234, FragSize: 24, Fragment: true, MoreFrags: true,
		}},
		{"middle fragment v6, of a chain", ip6(0, opts(44), frag6(60, 3, true), make([]byte, 16)), packet.Packet{
			Tuple: t6(60, 0, 0), Length: 72, HopLimit: 64, Data: 16,
			FragID: 0x1234, FragOffset: 3, FragSize: 16, Fragment: true, MoreFrags: true,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(t, tt.b)
			if err != nil || got != tt.want {
				t.Fatalf("%v\n got %+v\nwant %+v", err, got, tt.want)
			}
		})
	}
}

func TestWindowScale(t *testing.T) {
	for _, tt := range []struct {
		name    string
		flags   uint8
		options []byte
		has     bool
		shift   uint8
	}{
		{"none", packet.SYN, []byte{1, 1, 1, 1}, false, 0},
		{"zero is an offer", packet.SYN, []byte{3, 3, 0, 0}, true, 0},
		{"cut to 14", packet.SYN, []byte{3, 3, 255, 0}, true, 14},
		{"behind the end", packet.SYN, []byte{0, 3, 3, 7}, false, 0},
		{"the last counts", packet.SYN, []byte{3, 3, 7, 3, 3, 8, 0, 0}, true, 8},
		{"before a broken option", packet.SYN, []byte{3, 3, 7, 2, 0, 3, 3, 8}, true, 7},
		{"cut by the header", packet.SYN, []byte{1, 1, 3, 3}, false, 0},
		{"of the wrong length", packet.SYN, []byte{3, 4, 7, 7}, false, 0},
		{"without SYN", packet.ACK, []byte{3, 3, 7, 0}, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := decode(t, ip4(6, tcp(tt.flags, tt.options, nil)))
			if err != nil || p.HasScale != tt.has || p.Scale != tt.shift {
				t.Fatalf("%v, HasScale %v, Scale %d", err, p.HasScale, p.Scale)
			}
		})
	}
}

func TestChecksumIPv4(t *testing.T) {
	b := unhex(t, "45000020561840004011e6b27f0000017f000001c5010009000cfe1f70696e67")
	if !packet.ChecksumIPv4(b) {
		t.Error("a right checksum is wrong")
	}
	for i := range 20 { // HDR-05
		if packet.ChecksumIPv4(with(b, i, b[i]^0x10)) {
			t.Errorf("a flipped bit in byte %d goes unseen", i)
		}
	}
	for _, b := range [][]byte{nil, b[:19], with(b, 0, 0x44), with(b, 0, 0x4f), ip6(59)} {
		if packet.ChecksumIPv4(b) {
			t.Errorf("%x has a right checksum", b)
		}
	}
}

// Without the whole packet nobody knows its checksum.
func TestChecksumOfPart(t *testing.T) {
	b := []byte{
		0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 7, 192, 0, 2, 8,
		0, 1, 0, 2, 0, 9, 0, 0, 1,
	}
	var p packet.Packet
	if err := packet.Decode(b, &p); err != nil {
		t.Fatal(err)
	}
	if !p.Checksum(b) {
		t.Error("it has none")
	}
	for n := range b {
		if p.Checksum(b[:n]) {
			t.Errorf("of %d bytes", n)
		}
	}
}

func TestOddityText(t *testing.T) {
	for want, o := range map[string]packet.Oddity{
		"none":                        0,
		"source_route|routing_type_0": packet.OddSourceRoute | packet.OddRoutingType0,
		"options|fragment_headers":    packet.OddOptions | packet.OddFragmentHeaders,
		"source_route|128":            packet.OddSourceRoute | 128,
	} {
		if got := o.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestErrorText(t *testing.T) {
	for e, want := range map[packet.Error]string{
		0:                      "packet: no error",
		packet.ErrTruncated:    "packet: truncated",
		packet.ErrVersion:      "packet: unknown IP version",
		packet.ErrHeader:       "packet: impossible header",
		packet.ErrTinyFragment: "packet: tiny fragment",
		255:                    "packet: unknown error",
	} {
		if got := e.Error(); got != want {
			t.Errorf("%d: %q, want %q", e, got, want)
		}
	}
}

// TestSizes: a Tuple hashes as raw bytes only without padding, and a Packet
// fills two cache lines.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(packet.Tuple{}); n != 38 {
		t.Errorf("a Tuple has %d bytes", n)
	}
	if n := unsafe.Sizeof(packet.Packet{}); n > 128 {
		t.Errorf("a Packet has %d bytes", n)
	}
}

// TestDirty: the packet that other tests decode over has no zero field, so a
// field that Decode forgets shows.
func TestDirty(t *testing.T) {
	v := reflect.ValueOf(dirty())
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is zero", v.Type().Field(i).Name)
		}
	}
}

// TestAllocs: neither accepting nor refusing allocates, in either family.
func TestAllocs(t *testing.T) {
	for _, tt := range workload(1000) {
		t.Run(tt.name, func(t *testing.T) {
			var p packet.Packet
			var err error
			if n := testing.AllocsPerRun(100, func() { err = packet.Decode(tt.b, &p) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
			if (err == nil) != tt.accept {
				t.Errorf("accept is %v, got %v", tt.accept, err)
			}
		})
	}
}

// TestSACK: the highest right edge of the first list of blocks counts, modulo
// 2^32, and broken options count for nothing.
func TestSACK(t *testing.T) {
	const ack = 0x05060708 // as tcp has it
	for _, tt := range []struct {
		name    string
		options string
		want    uint32
	}{
		{"none", "", ack},
		{"timestamp", "0101080a0000000100000002", ack},
		{"one block", "0101050a0506070a05060710", 0x05060710},
		{"the second is higher", "010105120506070a050607100506072005060730", 0x05060730},
		{"the first is higher", "010105120506072005060730" + "0506070a05060710", 0x05060730},
		{"behind a timestamp", "0101080a0000000100000002" + "0101050a0506070a05060710", 0x05060710},
		{"a second list", "050a0506070a05060710" + "050a0506072005060730" + "00000000", 0x05060710},
		{"below the acknowledgement (RFC 2883)", "0101050a0506060005060700", ack},
		{"half the numbers ahead", "0101050a8506070085060708", 0x85060708},
		{"more than half", "0101050a8506070085060709", ack},
		{"a length that is no multiple of 8", "050b0506070a0506071000" + "00", ack},
		{"without a block", "0502" + "0101", ack},
		{"cut off", "05120506070a05060710" + "0000", ack},
		{"behind the end", "00000000050a0506070a050607100000", ack},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := decode(t, ip4(6, tcp(packet.ACK, unhex(t, tt.options), nil)))
			if err != nil || p.SACK != tt.want || p.SACKPermitted {
				t.Fatalf("%v, SACK %#x, want %#x", err, p.SACK, tt.want)
			}
		})
	}
}
