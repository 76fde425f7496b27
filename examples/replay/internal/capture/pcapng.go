package capture

import (
	"encoding/binary"
	"fmt"
	"time"
)

const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6

	ngByteOrder = 0x1a2b3c4d

	// maxInterfaces bounds the memory that the interfaces of a section take,
	// maxInterfaceBlock the options of one of them.
	maxInterfaces     = 4096
	maxInterfaceBlock = 1 << 16

	optEnd        = 0
	optResolution = 9
	optTimeOffset = 14
)

// pcapng is a pcapng file: a sequence of blocks, each with its type and, at
// both ends, its length.
type pcapng struct {
	order      binary.ByteOrder
	interfaces []ngInterface // of this section
}

type ngInterface struct {
	link  LinkType
	snap  uint32 // 0: unlimited
	clock ngClock
}

func openNG(r *Reader) (*pcapng, error) {
	f := new(pcapng)
	var h [8]byte
	if err := r.fill(h[:], true); err != nil {
		return nil, err
	}
	return f, f.section(r, h)
}

// next goes on to the next block with a packet.
func (f *pcapng) next(r *Reader) (Packet, error) {
	for {
		var h [8]byte
		if err := r.fill(h[:], false); err != nil {
			return Packet{}, err
		}
		kind, total := f.order.Uint32(h[:]), f.order.Uint32(h[4:])
		if kind == blockSection {
			if err := f.section(r, h); err != nil {
				return Packet{}, err
			}
			continue
		}
		if total < 12 || total%4 != 0 {
			return Packet{}, badLength(kind, total)
		}
		b := block{r: r, order: f.order, kind: kind, total: total, left: total - 12}
		var (
			p     Packet
			found bool
			err   error
		)
		switch kind {
		case blockInterface:
			err = f.addInterface(&b)
		case blockEnhanced, blockPacket, blockSimple:
			p, err = f.packet(&b)
			found = true
		}
		if err, ok := err.(*LinkTypeError); ok {
			if end := b.end(); end != nil {
				return Packet{}, end
			}
			return p, err
		}
		if err == nil {
			err = b.end()
		}
		if found || err != nil {
			return p, err
		}
	}
}

// section begins a section with the block that has the first eight bytes h.
// The byte order is known only after the third word.
func (f *pcapng) section(r *Reader, h [8]byte) error {
	var body [4]byte
	if err := r.fill(body[:], true); err != nil {
		return err
	}
	switch {
	case binary.LittleEndian.Uint32(body[:]) == ngByteOrder:
		f.order = binary.LittleEndian
	case binary.BigEndian.Uint32(body[:]) == ngByteOrder:
		f.order = binary.BigEndian
	default:
		return fmt.Errorf("%w: the byte order mark of a section is % x", ErrCorrupt, body)
	}
	total := f.order.Uint32(h[4:])
	if total < 28 || total%4 != 0 {
		return badLength(blockSection, total)
	}
	b := block{r: r, order: f.order, kind: blockSection, total: total, left: total - 16}
	version, err := b.take(4)
	if err != nil {
		return err
	}
	if major := f.order.Uint16(version); major != 1 {
		return fmt.Errorf("%w: a pcapng section of version %d, not 1", ErrCorrupt, major)
	}
	f.interfaces = f.interfaces[:0]
	return b.end()
}

func (f *pcapng) addInterface(b *block) error {
	if len(f.interfaces) == maxInterfaces {
		return fmt.Errorf("%w: more than %d interfaces", ErrCorrupt, maxInterfaces)
	}
	if b.left > maxInterfaceBlock {
		return fmt.Errorf("%w: %d bytes for an interface, more than %d", ErrCorrupt, b.left, maxInterfaceBlock)
	}
	body, err := b.take(b.left)
	if err != nil {
		return err
	}
	if len(body) < 8 {
		return badLength(b.kind, b.total)
	}
	i := ngInterface{
		link:  LinkType(f.order.Uint16(body)),
		snap:  f.order.Uint32(body[4:]),
		clock: ngClock{resolution: 6},
	}
	for o := body[8:]; len(o) >= 4; {
		code, n := f.order.Uint16(o), int(f.order.Uint16(o[2:]))
		padded := (n + 3) &^ 3
		if code == optEnd {
			break
		}
		if len(o) < 4+padded {
			return fmt.Errorf("%w: an option of %d bytes is longer than its block", ErrCorrupt, n)
		}
		switch value := o[4 : 4+n]; {
		case code == optResolution && n == 1:
			i.clock.resolution = value[0]
		case code == optTimeOffset && n == 8:
			i.clock.offset = int64(f.order.Uint64(value))
		}
		o = o[4+padded:]
	}
	f.interfaces = append(f.interfaces, i)
	return nil
}

// packet reads a block of one of the three kinds that hold a packet, but for
// the options after it.
func (f *pcapng) packet(b *block) (Packet, error) {
	size := uint32(20)
	if b.kind == blockSimple {
		size = 4
	}
	h, err := b.take(size)
	if err != nil {
		return Packet{}, err
	}
	var which, captured, length uint32
	var ticks uint64
	switch b.kind {
	case blockSimple:
		length = f.order.Uint32(h)
	case blockPacket:
		which = uint32(f.order.Uint16(h))
	case blockEnhanced:
		which = f.order.Uint32(h)
	}
	if which >= uint32(len(f.interfaces)) {
		return Packet{}, fmt.Errorf("%w: a packet of interface %d of %d", ErrCorrupt, which, len(f.interfaces))
	}
	i := &f.interfaces[which]
	var at time.Time
	if b.kind == blockSimple {
		captured = min(length, b.left)
		if i.snap != 0 {
			captured = min(captured, i.snap)
		}
	} else {
		ticks = uint64(f.order.Uint32(h[4:]))<<32 | uint64(f.order.Uint32(h[8:]))
		at = i.clock.time(ticks)
		captured, length = f.order.Uint32(h[12:]), f.order.Uint32(h[16:])
	}
	if captured > MaxPacket {
		return Packet{}, tooLong(captured)
	}
	data, err := b.take(captured)
	if err != nil {
		return Packet{}, err
	}
	return frame(i.link, data, length, at)
}

// block is the block that is being read. left are the bytes up to its second
// length.
type block struct {
	r     *Reader
	order binary.ByteOrder
	kind  uint32
	total uint32
	left  uint32
}

// take reads n bytes of the block into new memory.
func (b *block) take(n uint32) ([]byte, error) {
	if n > b.left {
		return nil, fmt.Errorf("%w: %d bytes in a block of type %d that has %d left", ErrCorrupt, n, b.kind, b.left)
	}
	b.left -= n
	return b.r.take(int(n))
}

// end skips what is left of the block and reads the second length.
func (b *block) end() error {
	if err := b.r.skip(int64(b.left)); err != nil {
		return err
	}
	b.left = 0
	var t [4]byte
	if err := b.r.fill(t[:], true); err != nil {
		return err
	}
	if total := b.order.Uint32(t[:]); total != b.total {
		return fmt.Errorf("%w: a block of type %d has %d bytes at its beginning, %d at its end",
			ErrCorrupt, b.kind, b.total, total)
	}
	return nil
}

func badLength(kind, total uint32) error {
	return fmt.Errorf("%w: a block of type %d with a length of %d bytes", ErrCorrupt, kind, total)
}
