package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// MaxPacket is the length of the longest packet that a [Reader] takes from a
// file. It is four times what tcpdump records at most.
const MaxPacket = 1 << 20

// Packet is one record of a capture file.
type Packet struct {
	// N is the number of the packet in the file, from 1, as tcpdump and
	// Wireshark count.
	N int

	// Time is when the packet was captured, in UTC. It is zero for a simple
	// packet block of a pcapng file, which has none.
	Time time.Time

	// IP is the packet from its IPv4 or IPv6 header on. The first four bits
	// are 4 or 6; nothing else about it is checked. Bytes after the end of
	// the IP packet, such as the padding of a short Ethernet frame, are left
	// in. It is nil if the frame has no IP packet. The bytes are the
	// caller's to keep.
	IP []byte

	// Truncated reports that the capture holds only the beginning of the
	// frame, because of its snap length.
	Truncated bool

	// Len is the length that the frame had on the wire, with the link layer,
	// as the file says.
	Len int

	// Note says why IP is nil: "arp", "ethertype 0x88cc", "llc" and the
	// like. It is empty if there is an IP packet.
	Note string
}

// Reader reads the packets of one capture file. It is not safe for concurrent
// use.
type Reader struct {
	in     *bufio.Reader
	offset int64
	n      int
	format format
	err    error // what every further call of Next returns
}

// format is one of the two file formats.
type format interface {
	// next gives the next packet without its number. An error other than a
	// *LinkTypeError ends the file, io.EOF if it ends in the right place.
	next(r *Reader) (Packet, error)
}

// Open reads the beginning of a capture file and returns a Reader for the
// rest. It does its own buffering.
//
// The error wraps [ErrNotCapture] if the file is neither pcap nor pcapng, and
// is a [*LinkTypeError] if it is a pcap file of a link type that this package
// does not know. The link types of a pcapng file are not at its beginning,
// they are found by [Reader.Next].
func Open(r io.Reader) (*Reader, error) {
	rd := &Reader{in: bufio.NewReaderSize(r, 1<<16)}
	magic, err := rd.in.Peek(4)
	if len(magic) < 4 {
		if err != io.EOF {
			return nil, fmt.Errorf("capture: %w", err)
		}
		return nil, fmt.Errorf("%w: it has only %d bytes", ErrNotCapture, len(magic))
	}
	switch be, le := binary.BigEndian.Uint32(magic), binary.LittleEndian.Uint32(magic); {
	case be == blockSection: // reads the same in both byte orders
		rd.format, err = openNG(rd)
	case isPcap(be):
		rd.format, err = openPcap(rd, binary.BigEndian)
	case isPcap(le):
		rd.format, err = openPcap(rd, binary.LittleEndian)
	case be>>16 == 0x1f8b:
		err = fmt.Errorf("%w: it is compressed with gzip", ErrNotCapture)
	default:
		err = fmt.Errorf("%w: it begins with % x", ErrNotCapture, magic)
	}
	if err != nil {
		return nil, rd.explain(err)
	}
	return rd, nil
}

// Next returns the next packet, and io.EOF after the last one. If the file
// ends in the middle of a record, the error wraps [ErrTruncated]; all packets
// before it have been returned. After these and all other errors but one the
// Reader is at its end and returns the same error again.
//
// The one is [*LinkTypeError]: in a pcapng file the packets of every interface
// can be of another link type, and the caller can go on to the next packet.
// The packet that comes with this error has everything but IP, and a Note.
func (r *Reader) Next() (Packet, error) {
	if r.err != nil {
		return Packet{}, r.err
	}
	p, err := r.format.next(r)
	if err != nil {
		if _, ok := errors.AsType[*LinkTypeError](err); !ok {
			r.err = r.explain(err)
			return Packet{}, r.err
		}
	}
	r.n++
	p.N = r.n
	return p, err
}

// Offset returns how many bytes of the file have been used, up to the end of
// the packet that Next returned last, or to where an error was met. What is
// only in the read buffer does not count.
func (r *Reader) Offset() int64 { return r.offset }

// explain says where in the file an error was met.
func (r *Reader) explain(err error) error {
	switch {
	case err == io.EOF:
		return err
	case errors.Is(err, ErrNotCapture):
		return err
	}
	if _, ok := errors.AsType[*LinkTypeError](err); ok {
		return err
	}
	return fmt.Errorf("capture: after packet %d, at byte %d: %w", r.n, r.offset, err)
}

// fill reads len(b) bytes. At the very end of the file it returns io.EOF, or
// ErrTruncated if the file has to go on there or has only a part of b.
func (r *Reader) fill(b []byte, mustGoOn bool) error {
	n, err := io.ReadFull(r.in, b)
	r.offset += int64(n)
	switch {
	case err == io.ErrUnexpectedEOF, err == io.EOF && mustGoOn:
		return ErrTruncated
	}
	return err
}

// take reads n bytes, n at most MaxPacket, into new memory. More than a little
// memory is only taken when the bytes are there.
func (r *Reader) take(n int) ([]byte, error) {
	const step = 1 << 14
	b := make([]byte, min(n, step))
	for have := 0; ; {
		if err := r.fill(b[have:], true); err != nil {
			return nil, err
		}
		if have = len(b); have == n {
			return b, nil
		}
		grown := make([]byte, min(n, 2*have))
		copy(grown, b)
		b = grown
	}
}

// skip reads n bytes and forgets them.
func (r *Reader) skip(n int64) error {
	if n == 0 {
		return nil
	}
	m, err := io.CopyN(io.Discard, r.in, n)
	r.offset += m
	if err == io.EOF {
		return ErrTruncated
	}
	return err
}

// frame makes a packet of the bytes of a record.
func frame(link LinkType, data []byte, length uint32, at time.Time) (Packet, error) {
	p := Packet{Time: at, Len: int(min(length, math.MaxInt32)), Truncated: uint32(len(data)) < length}
	if !link.Supported() {
		p.Note = "link type " + link.String()
		return p, &LinkTypeError{Type: link}
	}
	p.IP, p.Note = network(link, data)
	return p, nil
}
