package tun

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// FilterOptions configure a Filter. The zero value is ready to use.
type FilterOptions struct {
	// Answers say what the sender of a refused packet is told; default nothing.
	//
	// The answer to a packet that was read goes to Write of the device, from
	// within Read and beside the caller's own Write: see Device, which not
	// every device is. The answer to a packet that was written comes out of a
	// Read: the one that waits if the device has a method Interrupt() that
	// makes a Read return ErrInterrupted, as Queue has; else the next one that
	// begins or, if all it would return was dropped, begins anew.
	//
	// Interrupts of the caller make Read return ErrInterrupted as ever. On
	// devices other than Queue, one that falls together with the Filter's own
	// may be taken for it.
	Answers Answers

	// NoChecksums leaves the checksums of TCP, UDP, ICMP and SCTP unverified: for
	// a device whose packets are still to be completed, or to save reading every
	// byte. That of IPv4 headers is verified all the same.
	NoChecksums bool

	// Hold has the port keep fragments that come before their first one, and the
	// Filter send them on behind it; default none are kept. The port is then for
	// this Filter alone. What is kept counts as passed when it is sent on, and,
	// if it never is, among Engine.Drops only.
	Hold enforce.HoldOptions
}

// Filter is a Device that passes only what its port accepts: Read is egress of
// the interface behind the device, Write is ingress. Dropped packets vanish:
// Write counts them as written, Read closes the gaps and, where nothing is
// left, reads on. What passes ends where its IP header says: bytes behind that
// are cut off, since no verdict covers them. A packet with a wrong checksum is
// dropped (RFC 1122 3.2.1.2): its receiver would do so, and must not be taken to
// have got it.
//
// A Filter allocates nothing per packet or batch. It is safe for concurrent
// use as far as its device is. It must be made by New.
type Filter struct {
	device  Device
	port    *enforce.Port
	answers *answerer
	queue   *answerQueue // nil: no answers
	woke    atomic.Bool  // the device was interrupted, for an answer, and has not said so yet
	closed  atomic.Bool
	sums    enforce.Checksums
	holds   bool

	mu   sync.Mutex // guards free
	free []*batch

	egress, ingress path
}

var _ Device = (*Filter)(nil)

// path counts one direction.
type path struct {
	passed traffic
	drops  drops
}

// PathStats counts the packets of one direction of a Filter.
type PathStats struct {
	Passed Traffic
	Drops  Drops
}

// FilterStats counts since the Filter was made.
type FilterStats struct {
	Egress  PathStats // Read
	Ingress PathStats // Write
	Answers AnswerStats
}

// New returns a filter of d. It drops everything until the engine of p has a
// policy that knows the interface. Neither d nor p may be nil.
func New(d Device, p *enforce.Port, o FilterOptions) *Filter {
	f := &Filter{device: d, port: p, answers: newAnswerer(o.Answers)}
	if o.Answers.Reject {
		f.queue = new(answerQueue)
	}
	f.sums = enforce.ChecksumsAll
	if o.NoChecksums {
		f.sums = enforce.ChecksumsHeader
	}
	if f.holds = o.Hold.Fragments > 0; f.holds {
		p.Hold(o.Hold)
	}
	return f
}

// BatchSize is that of the device.
func (f *Filter) BatchSize() int { return f.device.BatchSize() }

// Close closes the device. Read then returns what the device does, and Write
// os.ErrClosed, even if it would have refused every packet.
func (f *Filter) Close() error {
	f.closed.Store(true)
	return f.device.Close()
}

// Stats returns a snapshot. The counts are each right, but not of one moment.
func (f *Filter) Stats() FilterStats {
	return FilterStats{
		Egress:  PathStats{Passed: f.egress.passed.load(), Drops: f.egress.drops.load()},
		Ingress: PathStats{Passed: f.ingress.passed.load(), Drops: f.ingress.drops.load()},
		Answers: f.answers.stats(),
	}
}

// Read waits for packets from the device and returns those that the port
// accepts as egress, in order, from bufs[0] on. It returns when there is at
// least one, or when the device returns an error; an error of the device is
// returned with the packets that came along with it. A packet that has to move
// up to a buffer too short for it is dropped, and counted as TooBig.
func (f *Filter) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for {
		if f.queue != nil && !f.closed.Load() {
			if n := f.queue.pop(bufs, sizes, offset, f.answers); n > 0 {
				return n, nil
			}
		}
		if n := f.releaseRead(bufs, sizes, offset, 0); n > 0 { // the last Read had no room for it
			return n, nil
		}
		n, err := f.device.Read(bufs, sizes, offset)
		if n > 0 {
			if n = f.judgeRead(bufs[:n], sizes, offset); n > 0 {
				return n, err
			}
			if err == nil {
				continue
			}
		}
		if f.queue != nil && f.own(err) {
			continue
		}
		return 0, err
	}
}

// own reports whether err is an interrupt that wake asked for.
func (f *Filter) own(err error) bool {
	if _, ok := f.device.(*Queue); ok {
		return errors.Is(err, wokenError{})
	}
	return errors.Is(err, ErrInterrupted) && f.woke.Swap(false)
}

// wake has a Read that waits look for answers, if the device can. A Queue tells
// this from interrupts of others. For any other device there is at most one
// interrupt on its way, so that each is answered by one Read.
func (f *Filter) wake() {
	switch d := f.device.(type) {
	case *Queue:
		d.wake()
	case interface{ Interrupt() }:
		if f.woke.CompareAndSwap(false, true) {
			d.Interrupt()
		}
	}
}

// judgeRead closes the gaps that refused packets leave and returns how many
// packets are left. It copies: callers keep things beside bufs[i] that belong
// to it, so the buffers stay where they are.
func (f *Filter) judgeRead(bufs [][]byte, sizes []int, offset int) int {
	b := f.take(len(bufs))
	defer f.put(b)
	for i, buf := range bufs {
		b.add(i, buf[offset:offset+sizes[i]])
	}
	f.port.FilterBatchWith(f.sums, sg.Egress, b.pkts, b.verdicts)
	n, bytes := 0, 0
	for k, pkt := range b.pkts {
		if v := b.verdicts[k]; v.Action != sg.Accept {
			f.refusedRead(b, pkt, v.Reason)
			continue
		}
		if n != b.from[k] {
			if len(pkt) > len(bufs[n])-offset {
				f.egress.drops.add(causeTooBig)
				continue
			}
			copy(bufs[n][offset:], pkt)
		}
		sizes[n] = len(pkt)
		bytes += len(pkt)
		n++
	}
	if n > 0 {
		f.egress.passed.add(n, bytes)
	}
	return f.releaseRead(bufs, sizes, offset, n)
}

// releaseRead puts what the port releases into the buffers behind the first n,
// as far as there are any, and returns how many are in use then.
func (f *Filter) releaseRead(bufs [][]byte, sizes []int, offset, n int) int {
	if !f.holds {
		return n
	}
	for n < len(bufs) {
		size, _ := f.port.Release(sg.Egress, bufs[n][offset:])
		switch {
		case size == 0:
			return n
		case size > len(bufs[n])-offset:
			f.egress.drops.add(causeTooBig)
			continue
		}
		sizes[n] = size
		f.egress.passed.add(1, size)
		n++
	}
	return n
}

func (f *Filter) refusedRead(b *batch, pkt []byte, why ir.Reason) {
	if why == ir.ReasonFragmentHeld {
		return
	}
	f.egress.drops.add(causeOf(why))
	if f.queue == nil {
		return
	}
	n := f.answers.refusal(b.answer[headroom:], pkt, why)
	if n == 0 {
		return
	}
	b.one[0] = b.answer[:headroom+n]
	_, err := f.device.Write(b.one[:], headroom)
	f.answers.done(err)
}

// Write sends those of the packets to the device that the port accepts as
// ingress. What it drops counts as written: it returns len(bufs) unless the
// device returns an error, and then how far in bufs the device came.
//
// If the device says that it sent k packets before an error, k are counted as
// passed, and the others as Drops.Device. That is as right as k is: the TUN of
// wireguard-go on Linux returns bytes there, which are taken for all packets.
func (f *Filter) Write(bufs [][]byte, offset int) (int, error) {
	if f.closed.Load() {
		return 0, os.ErrClosed
	}
	b := f.take(len(bufs))
	defer f.put(b)
	for i, buf := range bufs {
		b.add(i, buf[offset:])
	}
	f.port.FilterBatchWith(f.sums, sg.Ingress, b.pkts, b.verdicts)
	answered := false
	for k, pkt := range b.pkts {
		v := b.verdicts[k]
		if v.Action == sg.Accept {
			b.pass = append(b.pass, bufs[b.from[k]][:offset+len(pkt)])
			continue
		}
		if v.Reason == ir.ReasonFragmentHeld {
			continue
		}
		f.ingress.drops.add(causeOf(v.Reason))
		if f.queue != nil {
			answered = f.queue.push(f.answers, pkt, v.Reason) || answered
		}
	}
	if answered {
		f.wake()
	}
	accepted := len(b.pass)
	if accepted == 0 {
		return len(bufs), f.releaseWrite(b)
	}
	n, err := f.device.Write(b.pass, offset)
	if err == nil {
		n = accepted
	}
	n = min(max(n, 0), accepted)
	bytes, upTo := b.written(n, len(bufs))
	f.ingress.passed.add(n, bytes)
	f.ingress.drops.addN(causeDevice, accepted-n)
	if err == nil {
		err = f.releaseWrite(b)
	}
	return upTo, err
}

// releaseWrite sends what the port releases to the device. An error is that of
// the device; the packet is lost.
func (f *Filter) releaseWrite(b *batch) error {
	for f.holds {
		n, _ := f.port.Release(sg.Ingress, b.held[headroom:])
		if n == 0 {
			break
		}
		b.one[0] = b.held[:headroom+n]
		if _, err := f.device.Write(b.one[:], headroom); err != nil {
			f.ingress.drops.add(causeDevice)
			return err
		}
		f.ingress.passed.add(1, n)
	}
	return nil
}

// headroom is what answers leave before them, for devices that put a header
// there: 10 bytes for virtio, 4 for the BSDs.
const headroom = 32

// batch is the scratch memory of one Read or Write.
type batch struct {
	pkts     [][]byte // to be judged
	from     []int    // for each of them, where it was among the buffers
	verdicts []ir.Verdict
	pass     [][]byte
	one      [1][]byte
	answer   []byte // nil: no answers
	held     []byte // nil: nothing is kept back
}

// add takes in the packet of buffer i, up to its end.
func (b *batch) add(i int, buf []byte) {
	b.pkts, b.from = append(b.pkts, whole(buf)), append(b.from, i)
}

// written returns the bytes of the first n packets that were accepted, and
// where the next one was among the buffers: all of them, if there is none.
func (b *batch) written(n, all int) (bytes, upTo int) {
	for k, pkt := range b.pkts {
		if b.verdicts[k].Action != sg.Accept {
			continue
		}
		if n == 0 {
			return bytes, b.from[k]
		}
		n--
		bytes += len(pkt)
	}
	return bytes, all
}

// whole returns the packet that b begins with, without the bytes behind it, as
// far as its IP header can be believed: what can not be decoded comes back as
// it is, for the policy to refuse.
func whole(b []byte) []byte {
	n := 0
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		n = int(binary.BigEndian.Uint16(b[2:]))
	case len(b) >= 40 && b[0]>>4 == 6:
		n = 40 + int(binary.BigEndian.Uint16(b[4:]))
	}
	if 20 <= n && n < len(b) {
		b = b[:n]
	}
	return b
}

// take returns scratch memory for n packets. There are as many as calls ran
// at a time.
func (f *Filter) take(n int) *batch {
	f.mu.Lock()
	var b *batch
	if last := len(f.free) - 1; last >= 0 {
		b, f.free = f.free[last], f.free[:last]
	}
	f.mu.Unlock()
	if b == nil {
		b = new(batch)
		if f.queue != nil {
			b.answer = make([]byte, headroom+maxAnswer)
		}
		if f.holds {
			b.held = make([]byte, headroom+maxIP)
		}
	}
	if cap(b.pkts) < n {
		b.pkts, b.pass = make([][]byte, 0, n), make([][]byte, 0, n)
		b.from, b.verdicts = make([]int, 0, n), make([]ir.Verdict, n)
	}
	return b
}

// put gives scratch memory back, without what it points to.
func (f *Filter) put(b *batch) {
	clear(b.pkts)
	clear(b.pass)
	b.pkts, b.from, b.pass, b.one[0] = b.pkts[:0], b.from[:0], b.pass[:0], nil
	f.mu.Lock()
	f.free = append(f.free, b)
	f.mu.Unlock()
}
