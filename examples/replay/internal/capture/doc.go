// Package capture reads the IP packets of a capture file: pcap, as tcpdump
// writes it, and pcapng, as Wireshark does. It is a part of the replay
// example, and small on purpose: it gives the bytes from the IP header on and
// nothing of the link layer.
//
//	r, err := capture.Open(file)
//	...
//	for {
//		p, err := r.Next()
//		if err == io.EOF {
//			break
//		}
//		...
//	}
//
// # What it reads
//
// Classic pcap files of both byte orders, with microseconds or nanoseconds;
// pcapng files of both byte orders with any number of sections, interfaces
// and time resolutions. The link types are Ethernet, raw IP, BSD and OpenBSD
// loopback and the two Linux cooked ones, which "tcpdump -i any" gives; VLAN
// tags (802.1Q and 802.1ad) are skipped, up to four of them.
//
// A frame without an IP packet is not an error: it is a [Packet] whose IP is
// nil and whose Note says what the frame is, such as "arp".
//
// # What it takes from a hostile file
//
// A file is read as a stream. A [Reader] keeps a read buffer and, for pcapng,
// a few bytes for each interface; a packet is at most [MaxPacket] bytes long,
// and memory for it is taken as its bytes arrive, not as its length field
// says. A file that contradicts itself gives an error that wraps [ErrCorrupt],
// one that ends too early an error that wraps [ErrTruncated].
package capture
