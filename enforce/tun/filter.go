package tun

import (
	"errors"
	"sync"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// FilterOptions configure a Filter. The zero value is ready to use.
type FilterOptions struct {
	// Answers say what the sender of a refused packet is told; default nothing.
	//
	// The answer to a packet that was read goes to Write of the device, from
	// within Read. The answer to a packet that was written comes out of a
	// Read: the one that waits if the device has a method Interrupt() that
	// makes a Read return ErrInterrupted, as Queue has; else the next one that
	// begins or, if all it would return was dropped, begins anew.
	Answers Answers
}

// Filter is a Device that passes only what its port accepts: Read is egress of
// the interface behind the device, Write is ingress. Dropped packets vanish:
// Write counts them as written, Read closes the gaps and, where nothing is
// left, reads on.
//
// A Filter allocates nothing per packet or batch. It is safe for concurrent
// use as far as its device is.
type Filter struct {
	device  Device
	port    *enforce.Port
	answers *answerer
	queue   *answerQueue // nil: no answers

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
	return f
}

// BatchSize is that of the device.
func (f *Filter) BatchSize() int { return f.device.BatchSize() }

// Close closes the device.
func (f *Filter) Close() error { return f.device.Close() }

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
// returned with the packets that came along with it.
func (f *Filter) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for {
		if f.queue != nil {
			if n := f.queue.pop(bufs, sizes, offset, f.answers); n > 0 {
				return n, nil
			}
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
		if f.queue != nil && errors.Is(err, ErrInterrupted) {
			continue
		}
		return 0, err
	}
}

// judgeRead closes the gaps that refused packets leave and returns how many
// packets are left. It copies: callers keep things beside bufs[i] that belong
// to it, so the buffers stay where they are.
func (f *Filter) judgeRead(bufs [][]byte, sizes []int, offset int) int {
	b := f.take(len(bufs))
	defer f.put(b)
	for i, buf := range bufs {
		b.pkts = append(b.pkts, buf[offset:offset+sizes[i]])
	}
	accepted := f.port.FilterBatch(sg.Egress, b.pkts, b.verdicts[:len(bufs)])
	n, bytes := 0, 0
	for i, v := range b.verdicts[:len(bufs)] {
		if v.Action != sg.Accept {
			f.refusedRead(b, b.pkts[i], v.Reason)
			continue
		}
		if n != i {
			sizes[n] = copy(bufs[n][offset:], b.pkts[i])
		}
		bytes += sizes[n]
		n++
	}
	if accepted > 0 {
		f.egress.passed.add(n, bytes)
	}
	return n
}

func (f *Filter) refusedRead(b *batch, pkt []byte, why ir.Reason) {
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
// device returns an error.
func (f *Filter) Write(bufs [][]byte, offset int) (int, error) {
	b := f.take(len(bufs))
	defer f.put(b)
	for _, buf := range bufs {
		b.pkts = append(b.pkts, buf[offset:])
	}
	accepted := f.port.FilterBatch(sg.Ingress, b.pkts, b.verdicts[:len(bufs)])
	answered, bytes, pass := false, 0, bufs
	for i, v := range b.verdicts[:len(bufs)] {
		if v.Action == sg.Accept {
			bytes += len(b.pkts[i])
			if accepted != len(bufs) {
				b.pass = append(b.pass, bufs[i])
			}
			continue
		}
		f.ingress.drops.add(causeOf(v.Reason))
		if f.queue != nil {
			answered = f.queue.push(f.answers, b.pkts[i], v.Reason) || answered
		}
	}
	if answered {
		if d, ok := f.device.(interface{ Interrupt() }); ok {
			d.Interrupt()
		}
	}
	if accepted == 0 {
		return len(bufs), nil
	}
	if accepted != len(bufs) {
		pass = b.pass
	}
	n, err := f.device.Write(pass, offset)
	if err != nil {
		return written(b.verdicts[:len(bufs)], n), err
	}
	f.ingress.passed.add(accepted, bytes)
	return len(bufs), nil
}

// written returns how many packets of a batch were dealt with, if the device
// wrote n of those that were accepted.
func written(verdicts []ir.Verdict, n int) int {
	for i, v := range verdicts {
		if v.Action != sg.Accept {
			continue
		}
		if n <= 0 {
			return i
		}
		n--
	}
	return len(verdicts)
}

// headroom is what answers leave before them, for devices that put a header
// there: 10 bytes for virtio, 4 for the BSDs.
const headroom = 32

// batch is the scratch memory of one Read or Write.
type batch struct {
	pkts     [][]byte
	pass     [][]byte
	verdicts []ir.Verdict
	one      [1][]byte
	answer   []byte // nil: no answers
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
	}
	if cap(b.pkts) < n {
		b.pkts, b.pass, b.verdicts = make([][]byte, 0, n), make([][]byte, 0, n), make([]ir.Verdict, n)
	}
	return b
}

// put gives scratch memory back, without what it points to.
func (f *Filter) put(b *batch) {
	clear(b.pkts)
	clear(b.pass)
	b.pkts, b.pass, b.one[0] = b.pkts[:0], b.pass[:0], nil
	f.mu.Lock()
	f.free = append(f.free, b)
	f.mu.Unlock()
}
