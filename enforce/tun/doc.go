// Package tun filters packets between a TUN device and what stands behind it.
//
// There are two ways to use it, and one device that serves both:
//
//   - [Filter] wraps any [Device] that reads and writes batches of packets, as
//     the TUN devices of wireguard-go do, and lets pass what an [enforce.Port]
//     accepts. It works on every platform.
//   - [Gateway] connects two devices and forwards frames: packets with the
//     header of virtio in front (VIRTIO 1.2, 5.1.6), which say that a packet
//     of up to 64 KiB stands for many segments and that its checksum is still
//     to be filled in. A super-packet gets one verdict, since it is one flow,
//     and leaves as it came. Where the way out can not take it, the gateway
//     cuts it up and fills the checksums in.
//   - [Open] opens a TUN interface of Linux, whose queues are both a [Device]
//     and a [Link] of a Gateway.
//
// Read is egress of the interface behind the device, Write is ingress. Until
// the first policy is applied, and while the policy does not know the
// interface, nothing passes.
//
// # A bump in the wire
//
// Gateway and Filter are no router: they have no address, do not decrement the
// time to live, and send no ICMP time exceeded. What they send, they send in
// the name of the packet's destination, as a bridge that rejects does: an
// answer to a refused packet if [Answers.Reject] asks for it, and, for a
// packet above the MTU of the way out, fragmentation needed (RFC 1191) or
// packet too big (RFC 4443 3.2). An IPv4 packet above the MTU whose
// don't-fragment bit is clear is fragmented by a Gateway (RFC 791).
//
// # Trust
//
// No byte of a packet or of a header of virtio is believed before it is
// checked. A header that points outside the packet, names another protocol
// than the packet, or asks for a checksum to be written where the policy
// looked (which would turn port 443 into port 22 after the verdict) is dropped
// and counted as [Drops].Header. A wrong checksum is [Drops].Checksum: that of an
// IPv4 header, which no offload leaves open, and that of TCP, UDP, ICMP and SCTP
// unless the header of virtio leaves it open or NoChecksums is set. Bytes behind
// the end of a packet are cut off. Nothing allocates per packet.
//
// Caveats: a BIG TCP packet above 64 KiB is a jumbogram, and dropped as
// malformed: leave gso_max_size of the interface at its default.
package tun
