package tun

import (
	"errors"
	"sync"
	"sync/atomic"
)

// Queue is one queue of a TUN: a Device of plain packets, and a Link of
// frames. Use it as one of them. It is safe for concurrent use; packets stay
// in order if one goroutine reads.
//
// As a Device it hides offloads: Read cuts super-packets into the packets that
// they stand for and fills checksums in. A Gateway does better and forwards
// them whole.
type Queue struct {
	tun *TUN
	raw rawQueue

	asked atomic.Bool // by Interrupt, and no Read has said so yet

	readMu   sync.Mutex // guards what Read uses
	in       []byte
	frame    frame
	rest     segments // of frame
	failures int      // of raw.read, in a row
	drops    drops

	writeMu sync.Mutex // guards out
	out     []byte
}

var (
	_ Device = (*Queue)(nil)
	_ Link   = (*Queue)(nil)
)

// rawQueue is the file behind a Queue. With the offloads of the kernel its
// packets have a header, else none.
type rawQueue interface {
	// read reads a packet; if there is none, it waits or returns errNone.
	read(b []byte, wait bool) (int, error)
	write(b []byte) error
	interrupt()
	close() error // waits for calls in progress; again does nothing
}

var errNone = errors.New("no packet")

// queueBatch is the most packets that Read returns: more than the 45 segments
// of a super-packet at an MTU of 1500.
const queueBatch = 128

// BatchSize is 128.
func (q *Queue) BatchSize() int { return queueBatch }

// MTU is what TUN.MTU or TUN.SetMTU saw last.
func (q *Queue) MTU() int { return int(q.tun.mtu.Load()) }

// Offload is that of the TUN.
func (q *Queue) Offload() Offload { return q.tun.offload }

// Close closes the TUN, and with it all its queues.
func (q *Queue) Close() error { return q.tun.Close() }

// Interrupt makes one Read or ReadFrame of this queue return ErrInterrupted:
// one that waits, or else the next. Interrupts do not add up.
func (q *Queue) Interrupt() {
	q.asked.Store(true)
	q.raw.interrupt()
}

// wake is Interrupt, with a wokenError.
func (q *Queue) wake() { q.raw.interrupt() }

// Drops counts what Read dropped: super-packets with a header that lies, IPv4
// packets with a wrong header checksum, packets longer than the buffers, and
// those that the kernel failed to deliver.
func (q *Queue) Drops() Drops { return q.drops.load() }

// headers reports whether packets of the kernel have headers of virtio.
func (q *Queue) headers() bool { return q.tun.offload != 0 }

// ReadFrame waits for a frame. It returns ErrInterrupted, an error that wraps
// os.ErrClosed after Close or if the interface is gone, or an *Error if the
// kernel failed to deliver a packet, which is lost. b needs FrameSize bytes;
// what does not fit is cut off, and the packet then malformed.
func (q *Queue) ReadFrame(b []byte) (int, error) { return q.readFrame(b, true) }

func (q *Queue) readFrame(b []byte, wait bool) (int, error) {
	room := 0
	if !q.headers() {
		room = HeaderLen
		clear(b[:room])
	}
	n, err := q.raw.read(b[room:], wait)
	if err == nil {
		return room + n, nil
	}
	if errors.Is(err, ErrInterrupted) && !q.asked.Swap(false) {
		err = wokenError{}
	}
	return 0, err
}

// WriteFrame sends a frame. It returns syscall.EINVAL if the kernel, or the
// queue for want of offloads, can not take what its header asks for.
func (q *Queue) WriteFrame(b []byte) error {
	if q.headers() {
		return q.raw.write(b)
	}
	if b[0]&needsChecksum != 0 || b[1] != gsoNone {
		return errRefused
	}
	return q.raw.write(b[HeaderLen:])
}

// Read waits for a packet and reads as many as there are without waiting
// again. Segments of a super-packet that find no buffer come with the next
// Read. A packet longer than its buffer is dropped and counted, and so is one
// that the kernel fails to deliver: Read returns that error only after sixteen
// in a row.
func (q *Queue) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	q.readMu.Lock()
	defer q.readMu.Unlock()
	if q.in == nil {
		q.in = make([]byte, FrameSize)
	}
	n := 0
	for n < len(bufs) {
		if !q.rest.rest() {
			length, err := q.readFrame(q.in, n == 0)
			if q.lost(err) {
				continue
			}
			if n > 0 && err != nil {
				break // it will be back
			}
			if err != nil {
				return 0, err
			}
			if !q.frame.parse(q.in[:length]) {
				q.drops.add(q.frame.why)
				continue
			}
			if q.frame.h.gso != gsoNone {
				q.rest.cut(&q.frame)
				continue
			}
			q.frame.complete()
			if len(q.frame.pkt) > len(bufs[n])-offset {
				q.drops.add(causeTooBig)
				continue
			}
			sizes[n] = copy(bufs[n][offset:], q.frame.pkt)
			n++
			continue
		}
		if q.rest.size() > len(bufs[n])-offset {
			q.drops.add(causeTooBig)
			q.rest = segments{}
			continue
		}
		sizes[n] = q.rest.write(bufs[n][offset:])
		n++
	}
	return n, nil
}

// lost counts a packet that the kernel failed to deliver, and reports whether
// to read on.
func (q *Queue) lost(err error) bool {
	switch {
	case err == nil:
		q.failures = 0
		return false
	case errors.Is(err, ErrInterrupted), errors.Is(err, errNone), gone(err):
		return false
	}
	q.drops.add(causeDevice)
	q.failures++
	return q.failures < failuresInARow
}

// Write sends packets one by one. Where offset is at least HeaderLen it uses
// the bytes before it, which saves a copy. It returns how many the kernel took
// and the first error; after os.ErrClosed it does not try the others.
func (q *Queue) Write(bufs [][]byte, offset int) (int, error) {
	n, first := 0, error(nil)
	for _, buf := range bufs {
		err := q.writePacket(buf, offset)
		if err == nil {
			n++
			continue
		}
		if first == nil {
			first = err
		}
		if gone(err) {
			break
		}
	}
	return n, first
}

func (q *Queue) writePacket(buf []byte, offset int) error {
	switch {
	case !q.headers():
		return q.raw.write(buf[offset:])
	case offset >= HeaderLen:
		b := buf[offset-HeaderLen:]
		clear(b[:HeaderLen])
		return q.raw.write(b)
	}
	q.writeMu.Lock()
	defer q.writeMu.Unlock()
	var none [HeaderLen]byte
	q.out = append(append(q.out[:0], none[:]...), buf[offset:]...)
	return q.raw.write(q.out)
}
