package tun

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func links(l ...*memLink) []Link {
	var out []Link
	for _, x := range l {
		out = append(out, x)
	}
	return out
}

// Both directions, every pair of queues, and the port of either end.
func TestGateway(t *testing.T) {
	var a, b [2]*memLink
	for i := range 2 {
		a[i], b[i] = newMemLink(allOffloads), newMemLink(allOffloads)
	}
	out, in := syn(local4, remote4, 443), syn(remote6, local6, 443)
	refused := syn(remote6, local6, 22)
	g, err := NewGateway(End{Links: links(a[:]...), Port: port(t, web())}, End{Links: links(b[:]...)}, GatewayOptions{Answers: Answers{Reject: true}})
	require.NoError(t, err)
	for range 2 { // it can run again
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.Run(ctx) }()
		for i := range 2 {
			a[i].frames <- framed(header{}, out)
			<-b[i].notify
			b[i].frames <- framed(header{}, in)
			<-a[i].notify
			b[i].frames <- framed(header{}, refused)
			<-b[i].notify // the answer goes back to where it came from
		}
		require.ErrorIs(t, g.Run(ctx), ErrRunning)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	}
	s := g.Stats()
	require.Equal(t, DirectionStats{In: Traffic{4, uint64(4 * len(out))}, Out: Traffic{4, uint64(4 * len(out))}}, s.AtoB)
	require.Equal(t, DirectionStats{
		In: Traffic{8, uint64(8 * len(in))}, Out: Traffic{4, uint64(4 * len(in))}, Drops: Drops{Policy: 4}, Answers: AnswerStats{Sent: 4},
	}, s.BtoA)

	// Interrupts that nobody meant to stop it do not.
	done := make(chan error)
	go func() { done <- g.Run(t.Context()) }()
	a[0].Interrupt()
	a[0].frames <- framed(header{}, out)
	<-b[0].notify
	// A link that fails ends it.
	close(a[1].down)
	require.Error(t, <-done)
}

func TestGatewayQueues(t *testing.T) {
	l := newMemLink(0)
	for _, c := range []struct{ a, b []Link }{{nil, nil}, {links(l), nil}, {links(l), links(l, l)}, {[]Link{nil}, links(l)}, {links(l), []Link{nil}}} {
		_, err := NewGateway(End{Links: c.a}, End{Links: c.b}, GatewayOptions{})
		require.ErrorIs(t, err, ErrQueues)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "tun: gateway: both ends need the same number of links, at least 1, and none nil", err.Error())
	}
}

// memRaw is the file behind a Queue, in memory.
type memRaw struct {
	packets [][]byte // nil: a read fails with EINVAL
	written [][]byte
	err     error // when there are no more packets
	failed  error // of write
}

func (r *memRaw) read(b []byte, wait bool) (int, error) {
	if len(r.packets) == 0 {
		if !wait {
			return 0, errNone
		}
		return 0, r.err
	}
	pkt := r.packets[0]
	r.packets = r.packets[1:]
	if pkt == nil {
		return 0, &Error{Op: "read", Err: syscall.EINVAL}
	}
	return copy(b, pkt), nil
}

func (r *memRaw) write(b []byte) error {
	if r.failed != nil {
		return r.failed
	}
	r.written = append(r.written, clone(b))
	return nil
}

func (r *memRaw) interrupt()   {}
func (r *memRaw) close() error { return r.failed }

// memControl is the interface behind a TUN, in memory.
type memControl struct{ now int }

func (c *memControl) mtu() (int, error) {
	if c.now < 0 {
		return 0, io.ErrClosedPipe
	}
	return c.now, nil
}

func (c *memControl) setMTU(n int) error {
	if n < 0 {
		return io.ErrClosedPipe
	}
	c.now = n
	return nil
}

func (c *memControl) close() error { return nil }

func memQueue(o Offload, pkts ...[]byte) (*Queue, *memRaw) {
	r := &memRaw{packets: pkts, err: os.ErrClosed}
	return newTUN("tun7", o, &memControl{}, []rawQueue{r}).Queues()[0], r
}

// A Queue as a Device cuts super-packets up, over as many Reads as it takes.
func TestQueueRead(t *testing.T) {
	s := spec{src: local4, dst: remote4, sport: 1, dport: 443, flags: "A", data: pattern(10000)}
	want := slowSplit(s, 1000)
	last := udp(local6, remote6, 53, 10)
	partialLast := clone(last)
	q, _ := memQueue(allOffloads, super(s.build(), 1000), framed(header{flags: 9}, last), framed(partial(partialLast), partialLast))
	const offset = 3
	var got [][]byte
	for {
		bufs, sizes := buffers(4, offset)
		n, err := q.Read(bufs, sizes, offset)
		got = append(got, packets(bufs, sizes, n, offset)...)
		if err != nil {
			require.ErrorIs(t, err, os.ErrClosed)
			break
		}
		require.NotZero(t, n)
	}
	require.Equal(t, append(want, last), got)
	require.Equal(t, Drops{Header: 1}, q.Drops())

	// Packets longer than the buffers are dropped, and what follows is not.
	q, _ = memQueue(allOffloads, super(s.build(), 1000), framed(header{}, udp(local4, remote4, 53, 1000)), framed(header{}, last))
	bufs, sizes := [][]byte{make([]byte, 900)}, make([]int, 1)
	n, err := q.Read(bufs, sizes, 0)
	require.NoError(t, err)
	require.Equal(t, [][]byte{last}, packets(bufs, sizes, n, 0))
	require.Equal(t, Drops{TooBig: 2}, q.Drops())

	// Without offloads there are no headers.
	q, _ = memQueue(0, last, last)
	bufs, sizes = buffers(4, 0)
	n, err = q.Read(bufs, sizes, 0)
	require.NoError(t, err)
	require.Equal(t, [][]byte{last, last}, packets(bufs, sizes, n, 0))
	require.Equal(t, queueBatch, q.BatchSize())
}

// A packet that the kernel fails to deliver is lost, and no more; a row of them
// is the end.
func TestQueueReadFails(t *testing.T) {
	pkt := udp(local6, remote6, 53, 10)
	in := [][]byte{nil, pkt, nil, nil, pkt}
	for range 2 {
		in = append(in, make([][]byte, failuresInARow-1)...)
		in = append(in, pkt)
	}
	in = append(in, make([][]byte, failuresInARow)...)
	in = append(in, pkt)
	q, _ := memQueue(0, in...)
	var got [][]byte
	read := func() error {
		bufs, sizes := buffers(3, 0)
		n, err := q.Read(bufs, sizes, 0)
		got = append(got, packets(bufs, sizes, n, 0)...)
		return err
	}
	require.NoError(t, read())
	require.NoError(t, read(), "with what came before")
	require.Equal(t, [][]byte{pkt, pkt, pkt, pkt}, got)
	require.Equal(t, Drops{Device: uint64(3 + 3*failuresInARow - 2)}, q.Drops())

	q, _ = memQueue(0, append(make([][]byte, failuresInARow), pkt)...)
	var e *Error
	require.ErrorAs(t, read(), &e)
	require.ErrorIs(t, e, syscall.EINVAL)
	require.NoError(t, read(), "whoever reads on may")
	require.Len(t, got, 5)
}

// The same in a Gateway.
func TestGatewayReadFails(t *testing.T) {
	pkt := framed(header{}, udp(local6, remote6, 53, 10))
	for _, c := range []struct {
		frames [][]byte
		out    int
		drops  uint64
		err    error
	}{
		{[][]byte{nil, pkt, nil, pkt}, 2, 2, os.ErrClosed},
		{append(append(make([][]byte, failuresInARow-1), pkt), append(make([][]byte, failuresInARow-1), pkt)...), 2, 2*failuresInARow - 2, os.ErrClosed},
		{append(append([][]byte{pkt}, make([][]byte, failuresInARow)...), pkt), 1, failuresInARow, syscall.EINVAL},
	} {
		q, _ := memQueue(allOffloads, c.frames...)
		to := newMemLink(allOffloads)
		g, err := NewGateway(End{Links: []Link{q}}, End{Links: links(to)}, GatewayOptions{})
		require.NoError(t, err)
		require.ErrorIs(t, g.Run(t.Context()), c.err)
		require.Len(t, to.got(), c.out)
		require.Equal(t, Drops{Device: c.drops}, g.Stats().AtoB.Drops)
	}
}

func TestQueueWrite(t *testing.T) {
	pkt := udp(local6, remote6, 53, 10)
	for _, offset := range []int{0, 4, HeaderLen, 30} {
		buf := append(pattern(offset), pkt...)
		for _, o := range []Offload{0, allOffloads} {
			q, r := memQueue(o)
			n, err := q.Write([][]byte{clone(buf), clone(buf)}, offset)
			require.NoError(t, err)
			require.Equal(t, 2, n)
			want := pkt
			if o != 0 {
				want = framed(header{}, pkt)
			}
			require.Equal(t, [][]byte{want, want}, r.written)
		}
	}
	q, r := memQueue(0)
	require.NoError(t, q.WriteFrame(framed(header{}, pkt)))
	require.Equal(t, [][]byte{pkt}, r.written)
	require.True(t, refused(q.WriteFrame(framed(header{flags: needsChecksum}, pkt))))
	require.True(t, refused(q.WriteFrame(framed(header{gso: gsoUDP}, pkt))))
	r.failed = io.ErrShortWrite
	n, err := q.Write([][]byte{pkt, pkt}, 0)
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.Zero(t, n)
	require.ErrorContains(t, q.Close(), "tun: close tun7")
}

func TestTUNErrors(t *testing.T) {
	c := &memControl{now: 1500}
	d := newTUN("tun7", 0, c, nil)
	n, err := d.MTU()
	require.NoError(t, err)
	require.Equal(t, 1500, n)
	require.ErrorContains(t, d.SetMTU(-1), "tun: set mtu tun7: ")
	c.now = -1
	_, err = d.MTU()
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.Empty(t, d.Links())
	require.Equal(t, "tun7", d.Name())
	require.NoError(t, d.Close())
	require.False(t, errors.Is(err, ErrRunning))
}
