package packet_test

import (
	"errors"
	"fmt"
	"net/netip"

	"example.com/secgroup/conntrack/packet"
)

// One Packet serves for all packets that a goroutine decodes.
func ExampleDecode() {
	syn := []byte{
		0x45, 0, 0, 44, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 7, 10, 0, 0, 5, // IPv4
		0x9c, 0x41, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 0x02, 0xfa, 0xf0, 0, 0, 0, 0, // TCP
		1, 3, 3, 7, // window scale
	}
	var p packet.Packet
	for _, b := range [][]byte{syn, syn[:30]} {
		if err := packet.Decode(b, &p); err != nil {
			fmt.Println("refused:", err, "from", p.Tuple.SrcAddr())
			continue
		}
		fmt.Println(p.Tuple, "SYN:", p.Flags == packet.SYN, "scale:", p.Scale)
	}
	// Output:
	// tcp 192.0.2.7:40001 > 10.0.0.5:443 SYN: true scale: 7
	// refused: packet: truncated from 192.0.2.7
}

// An ICMP error quotes the packet it is about; the reverse of the quoted
// tuple is that of the packets the sender of the error would have sent.
func ExampleQuote() {
	unreachable := []byte{
		0x45, 0, 0, 56, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, 5, 192, 0, 2, 7, // IPv4
		3, 3, 0, 0, 0, 0, 0, 0, // destination unreachable: port
		0x45, 0, 0, 60, 0, 2, 0, 0, 64, 17, 0, 0, 192, 0, 2, 7, 10, 0, 0, 5, // the quoted header,
		0x9c, 0x41, 0, 53, 0, 40, 0, 0, // and 8 bytes behind it
	}
	var p packet.Packet
	if err := packet.Decode(unreachable, &p); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Tuple)
	if p.IsICMPError() && p.Inner.Tuple.Family != 0 {
		fmt.Println("is about", p.Inner.Tuple)
		fmt.Println("answers of", p.Inner.Tuple.Reverse())
	}
	// Output:
	// icmp 10.0.0.5 > 192.0.2.7
	// is about udp 192.0.2.7:40001 > 10.0.0.5:53
	// answers of udp 10.0.0.5:53 > 192.0.2.7:40001
}

// A trailing fragment has no ports: it shares the fate of the first fragment,
// which it names by FragID and the addresses.
func ExamplePacket_Trailing() {
	b := []byte{
		0x45, 0, 0, 28, 0x12, 0x34, 0, 185, 64, 17, 0, 0, 192, 0, 2, 7, 10, 0, 0, 5,
		1, 2, 3, 4, 5, 6, 7, 8,
	}
	var p packet.Packet
	if err := packet.Decode(b, &p); err != nil {
		fmt.Println(err)
		return
	}
	from := int(p.FragOffset) * 8
	fmt.Printf("trailing: %v, datagram %#x, bytes %d to %d, last: %v\n",
		p.Trailing(), p.FragID, from, from+int(p.FragSize), !p.MoreFrags)
	// Output:
	// trailing: true, datagram 0x1234, bytes 1480 to 1488, last: true
}

// An IPv4 packet and an IPv6 packet with IPv4-mapped addresses are two flows.
func ExampleTupleFrom() {
	t := packet.TupleFrom(packet.ProtoTCP,
		netip.MustParseAddrPort("192.0.2.7:40001"), netip.MustParseAddrPort("10.0.0.5:443"))
	mapped := packet.TupleFrom(packet.ProtoTCP,
		netip.MustParseAddrPort("[::ffff:192.0.2.7]:40001"), netip.MustParseAddrPort("[::ffff:10.0.0.5]:443"))
	fmt.Println(t)
	fmt.Println(t.Reverse())
	fmt.Println(mapped, mapped == t)
	// Output:
	// tcp 192.0.2.7:40001 > 10.0.0.5:443
	// tcp 10.0.0.5:443 > 192.0.2.7:40001
	// tcp [::ffff:192.0.2.7]:40001 > [::ffff:10.0.0.5]:443 false
}

// Errors are values of one small set.
func ExampleError() {
	var p packet.Packet
	err := packet.Decode([]byte("not a packet"), &p)
	var e packet.Error
	fmt.Println(errors.As(err, &e), e == packet.ErrTruncated, e)
	// Output:
	// true true packet: truncated
}

// A source that vouches for checksums can have them verified.
func ExamplePacket_Checksum() {
	ping := []byte{
		0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, 192, 0, 2, 7, 10, 0, 0, 5, // IPv4
		8, 0, 0xf7, 0xfd, 0, 1, 0, 1, // echo request
	}
	var p packet.Packet
	if err := packet.Decode(ping, &p); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Checksum(ping), packet.ChecksumIPv4(ping))
	// Output: true false
}

// What no honest packet has is no error, but can be told.
func ExampleOddity() {
	routed := []byte{
		0x46, 0, 0, 24, 0, 1, 0, 0, 64, 47, 0, 0, 192, 0, 2, 7, 10, 0, 0, 5, // IPv4
		131, 3, 4, 0, // loose source route
	}
	var p packet.Packet
	err := packet.Decode(routed, &p)
	fmt.Println(err, p.Odd.Has(packet.OddSourceRoute), p.Odd.Has(packet.OddOptions))
	// Output: <nil> true false
}
