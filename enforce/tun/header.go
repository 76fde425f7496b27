package tun

import "encoding/binary"

// Sizes of frames, in bytes.
const (
	HeaderLen = 10                // of struct virtio_net_hdr
	FrameSize = HeaderLen + maxIP // of the longest frame
	maxIP     = 65535             // of the longest IPv4 packet
	maxUDP    = 128               // segments of a UDP super-packet: UDP_MAX_SEGMENTS of Linux
	minTCP    = 8                 // data bytes of the smallest segment: net.ipv4.tcp_min_snd_mss less 40
)

// Values of the header (VIRTIO 1.2, 5.1.6; include/uapi/linux/virtio_net.h).
const (
	needsChecksum = 1 // flags: write the checksum at start + offset
	dataValid     = 2 // flags: the checksum was verified

	gsoNone = 0
	gsoTCP4 = 1
	gsoTCP6 = 4
	gsoUDP  = 5
	gsoECN  = 0x80 // with gsoTCP4 and gsoTCP6
)

// header is struct virtio_net_hdr. Offsets count from the first byte of the
// packet.
type header struct {
	flags, gso    uint8
	hdrLen        uint16 // a hint only
	size          uint16 // data bytes per segment
	start, csumAt uint16 // of the bytes to sum; from there, of the checksum
}

// decode reads the header of a frame. TUN devices use the byte order of the
// machine, unless told otherwise.
func (h *header) decode(b []byte) {
	_ = b[HeaderLen-1]
	h.flags, h.gso = b[0], b[1]
	h.hdrLen = binary.NativeEndian.Uint16(b[2:])
	h.size = binary.NativeEndian.Uint16(b[4:])
	h.start = binary.NativeEndian.Uint16(b[6:])
	h.csumAt = binary.NativeEndian.Uint16(b[8:])
}

func (h *header) encode(b []byte) {
	_ = b[HeaderLen-1]
	b[0], b[1] = h.flags, h.gso
	binary.NativeEndian.PutUint16(b[2:], h.hdrLen)
	binary.NativeEndian.PutUint16(b[4:], h.size)
	binary.NativeEndian.PutUint16(b[6:], h.start)
	binary.NativeEndian.PutUint16(b[8:], h.csumAt)
}

// needs returns the offloads that a frame with this header asks for.
func (h *header) needs() Offload {
	var o Offload
	if h.flags&needsChecksum != 0 {
		o |= OffloadChecksum
	}
	switch h.gso &^ gsoECN {
	case gsoTCP4, gsoTCP6:
		o |= OffloadTSO
	case gsoUDP:
		o |= OffloadUSO
	}
	if h.gso&gsoECN != 0 {
		o |= OffloadECN
	}
	return o
}
