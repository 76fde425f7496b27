package capture

import (
	"encoding/binary"
	"fmt"
	"time"
)

const (
	pcapMicro = 0xa1b2c3d4
	pcapNano  = 0xa1b23c4d

	pcapHeader       = 24
	pcapRecordHeader = 16
)

func isPcap(magic uint32) bool { return magic == pcapMicro || magic == pcapNano }

// pcap is a classic pcap file.
type pcap struct {
	order binary.ByteOrder
	unit  int64 // nanoseconds of a fraction of a second
	link  LinkType
}

func openPcap(r *Reader, order binary.ByteOrder) (*pcap, error) {
	var h [pcapHeader]byte
	if err := r.fill(h[:], true); err != nil {
		return nil, err
	}
	f := &pcap{order: order, unit: 1000}
	if order.Uint32(h[:]) == pcapNano {
		f.unit = 1
	}
	if major := order.Uint16(h[4:]); major != 2 {
		return nil, fmt.Errorf("%w: a pcap file of version %d, not 2", ErrCorrupt, major)
	}
	// The upper half of the link type says whether frames end with a check
	// sequence. The snap length of the header is only a promise.
	f.link = LinkType(order.Uint32(h[20:]))
	if !f.link.Supported() {
		return nil, &LinkTypeError{Type: f.link}
	}
	return f, nil
}

func (f *pcap) next(r *Reader) (Packet, error) {
	var h [pcapRecordHeader]byte
	if err := r.fill(h[:], false); err != nil {
		return Packet{}, err
	}
	at := time.Unix(int64(f.order.Uint32(h[:])), int64(f.order.Uint32(h[4:]))*f.unit).UTC()
	captured, length := f.order.Uint32(h[8:]), f.order.Uint32(h[12:])
	if captured > MaxPacket {
		return Packet{}, tooLong(captured)
	}
	data, err := r.take(int(captured))
	if err != nil {
		return Packet{}, err
	}
	return frame(f.link, data, length, at)
}

func tooLong(n uint32) error {
	return fmt.Errorf("%w: a packet of %d bytes, more than %d", ErrCorrupt, n, MaxPacket)
}
