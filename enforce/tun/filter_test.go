package tun

import (
	"errors"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/enforce"
)

func TestFilterRead(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		yes, no := syn(f.local, f.remote, 443), syn(f.local, f.remote, 22)
		other := udp(f.local, f.remote, 53, 99)
		const offset = 7
		d := newMemDevice(memRead{pkts: [][]byte{no, yes, no, no, other, no}}, memRead{pkts: [][]byte{no, no}}, memRead{pkts: [][]byte{yes}})
		x := New(d, port(t, web()), FilterOptions{})
		require.Equal(t, d.BatchSize(), x.BatchSize())
		bufs, sizes := buffers(8, offset)
		first := &bufs[0][0]
		n, err := x.Read(bufs, sizes, offset)
		require.NoError(t, err)
		require.Equal(t, [][]byte{yes, other}, packets(bufs, sizes, n, offset), "without gaps")
		require.Same(t, first, &bufs[0][0], "buffers stay where they are")
		n, err = x.Read(bufs, sizes, offset)
		require.NoError(t, err)
		require.Equal(t, [][]byte{yes}, packets(bufs, sizes, n, offset), "a batch of which nothing is left is no batch")
		s := x.Stats()
		require.Equal(t, PathStats{Passed: Traffic{3, uint64(2*len(yes) + len(other))}, Drops: Drops{Policy: 6}}, s.Egress)
		require.Zero(t, s.Ingress)
		require.Empty(t, d.got(), "no answers by default")
	})
}

// Errors of the device come through, with the packets that came along.
func TestFilterReadErrors(t *testing.T) {
	yes, no := syn(local4, remote4, 443), syn(local4, remote4, 22)
	some := errors.New("too many segments")
	d := newMemDevice(memRead{[][]byte{no, yes}, some}, memRead{[][]byte{no}, some}, memRead{nil, io.EOF}, memRead{nil, nil})
	x := New(d, port(t, web()), FilterOptions{})
	bufs, sizes := buffers(8, 0)
	n, err := x.Read(bufs, sizes, 0)
	require.ErrorIs(t, err, some)
	require.Equal(t, [][]byte{yes}, packets(bufs, sizes, n, 0))
	n, err = x.Read(bufs, sizes, 0)
	require.ErrorIs(t, err, some)
	require.Zero(t, n)
	n, err = x.Read(bufs, sizes, 0)
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, n)
	n, err = x.Read(bufs, sizes, 0)
	require.NoError(t, err, "a device that returns nothing is taken at its word")
	require.Zero(t, n)

	// Close ends a Read that waits.
	done := make(chan error)
	go func() {
		_, err := x.Read(bufs, sizes, 0)
		done <- err
	}()
	require.NoError(t, x.Close())
	require.ErrorIs(t, <-done, os.ErrClosed)
}

// An interrupt that the Filter did not ask for is the caller's.
func TestFilterReadInterrupted(t *testing.T) {
	d := wokenDevice{newMemDevice()}
	x := New(d, port(t, web()), FilterOptions{})
	d.Interrupt()
	bufs, sizes := buffers(1, 0)
	_, err := x.Read(bufs, sizes, 0)
	require.ErrorIs(t, err, ErrInterrupted)
}

func TestFilterWrite(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		const offset = 5
		at := func(b []byte) []byte { return append(make([]byte, offset), b...) }
		yes, no := syn(f.remote, f.local, 443), syn(f.remote, f.local, 22)
		d := newMemDevice()
		x := New(d, port(t, web()), FilterOptions{})
		n, err := x.Write([][]byte{at(no), at(yes), at(no), at(yes)}, offset)
		require.NoError(t, err)
		require.Equal(t, 4, n, "what is dropped counts as written")
		require.Equal(t, [][]byte{yes, yes}, d.got())
		n, err = x.Write([][]byte{at(no)}, offset)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		n, err = x.Write(nil, offset)
		require.NoError(t, err)
		require.Zero(t, n)
		require.Equal(t, 1, d.batches, "a batch of nothing is not written")
		_, err = x.Write([][]byte{at(yes)}, offset)
		require.NoError(t, err)
		require.Len(t, d.got(), 3)
		require.Equal(t, PathStats{Passed: Traffic{3, uint64(3 * len(yes))}, Drops: Drops{Policy: 3}}, x.Stats().Ingress)
	})
}

// A device that writes a part: Write returns how far it came in the batch.
func TestFilterWriteErrors(t *testing.T) {
	yes, no := syn(remote4, local4, 443), syn(remote4, local4, 22)
	batch := [][]byte{no, yes, no, yes, yes, no}
	for wrote, want := range map[int]int{-1: 1, 0: 1, 1: 3, 2: 4, 3: 6, 400: 6} {
		d := newMemDevice()
		d.writeN, d.writeErr = wrote, io.ErrShortWrite
		x := New(d, port(t, web()), FilterOptions{})
		n, err := x.Write(batch, 0)
		require.ErrorIs(t, err, io.ErrShortWrite)
		require.Equal(t, want, n, "%d written", wrote)
		passed := uint64(min(max(wrote, 0), 3))
		require.Equal(t, PathStats{
			Passed: Traffic{passed, passed * uint64(len(yes))}, Drops: Drops{Policy: 3, Device: 3 - passed},
		}, x.Stats().Ingress, "%d written", wrote)
	}
}

// Nothing passes before the first policy, nor under one that does not know the
// interface, and nobody is told.
func TestFilterNoPolicy(t *testing.T) {
	e := enforce.NewEngine(enforce.Options{})
	d := newMemDevice(memRead{pkts: [][]byte{syn(local4, remote4, 443)}}, memRead{err: io.EOF})
	x := New(d, e.Port("i"), FilterOptions{Answers: Answers{Reject: true}})
	bufs, sizes := buffers(8, 0)
	n, err := x.Read(bufs, sizes, 0)
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, n)
	n, err = x.Write([][]byte{syn(remote4, local4, 443)}, 0)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, e.Apply(t.Context(), matcher(t, web())))
	unknown := New(d, e.Port("another"), FilterOptions{Answers: Answers{Reject: true}})
	_, err = unknown.Write([][]byte{syn(remote4, local4, 443)}, 0)
	require.NoError(t, err)
	require.Empty(t, d.got())
	require.EqualValues(t, 1, x.Stats().Egress.Drops.NoPolicy)
	require.EqualValues(t, 1, x.Stats().Ingress.Drops.NoPolicy)
	require.EqualValues(t, 1, unknown.Stats().Ingress.Drops.Total())
	_, err = x.Write([][]byte{syn(remote4, local4, 443)}, 0)
	require.NoError(t, err)
	require.Len(t, d.got(), 1)
}

// Whatever mixture comes, and however it is batched, Read returns the accepted
// ones in order and Write sends them in order.
func TestFilterProperty(t *testing.T) {
	p, m := port(t, web()), matcher(t, web())
	anew := func() *enforce.Port { // so that directions do not mix
		e := enforce.NewEngine(enforce.Options{})
		require.NoError(t, e.Apply(t.Context(), m))
		return e.Port("i")
	}
	rapid.Check(t, func(t *rapid.T) {
		offset := rapid.IntRange(0, 40).Draw(t, "offset")
		var reads []memRead
		var want [][]byte
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			var r memRead
			for range rapid.IntRange(1, 8).Draw(t, "packets") {
				port := rapid.SampledFrom([]uint16{53, 54}).Draw(t, "port")
				pkt := udp(local4, remote4, port, rapid.IntRange(0, 30).Draw(t, "size"))
				r.pkts = append(r.pkts, pkt)
				if port == 53 {
					want = append(want, pkt)
				}
			}
			reads = append(reads, r)
		}
		x := New(newMemDevice(append(reads, memRead{err: io.EOF})...), p, FilterOptions{})
		var got [][]byte
		for {
			bufs, sizes := buffers(8, offset)
			n, err := x.Read(bufs, sizes, offset)
			got = append(got, packets(bufs, sizes, n, offset)...)
			if err != nil {
				require.Zero(t, n)
				break
			}
			require.NotZero(t, n)
		}
		require.Equal(t, want, got)

		// The same packets the other way.
		d := newMemDevice()
		x = New(d, anew(), FilterOptions{})
		for _, r := range reads {
			bufs := make([][]byte, len(r.pkts))
			for i, b := range r.pkts {
				bufs[i] = append(make([]byte, offset), b...)
			}
			n, err := x.Write(bufs, offset)
			require.NoError(t, err)
			require.Equal(t, len(bufs), n)
		}
		require.Equal(t, want, d.got())
	})
}

// Many write while one reads, as wireguard-go does.
func TestFilterConcurrent(t *testing.T) {
	const writers, each = 4, 200
	d := wokenDevice{newMemDevice()}
	x := New(d, port(t, web()), FilterOptions{Answers: Answers{Reject: true, Rate: 1, Burst: 10}})
	done := make(chan int)
	go func() {
		bufs, sizes := buffers(8, 0)
		seen := 0
		for {
			n, err := x.Read(bufs, sizes, 0)
			if errors.Is(err, ErrInterrupted) {
				continue // by the test, below
			}
			if err != nil {
				done <- seen
				return
			}
			seen += n
		}
	}()
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				_, err := x.Write([][]byte{syn(remote4, local4, 22), syn(remote4, local4, 443)}, 0)
				if err != nil {
					t.Error(err)
				}
				d.reads <- memRead{pkts: [][]byte{syn(local4, remote4, 443)}}
			}
		})
	}
	all.Wait()
	for len(d.reads) > 0 || x.Stats().Answers.Sent < 10 {
		d.Interrupt()
	}
	require.NoError(t, x.Close())
	require.Equal(t, writers*each+10, <-done)
	s := x.Stats()
	require.EqualValues(t, writers*each, s.Ingress.Passed.Packets)
	require.EqualValues(t, writers*each, s.Ingress.Drops.Policy)
	require.EqualValues(t, 10, s.Answers.Sent)
	require.EqualValues(t, writers*each-10, s.Answers.LimitedRefusals)
}

func TestFilterAllocs(t *testing.T) {
	for _, reject := range []bool{false, true} {
		batch := [][]byte{syn(local4, remote4, 443), syn(local4, remote4, 22), udp(local4, remote4, 53, 100), udp(local4, remote4, 54, 100)}
		back := [][]byte{syn(remote4, local4, 443), syn(remote4, local4, 22), udp(remote4, local4, 53, 100), udp(remote4, local4, 54, 100)}
		d := &loopDevice{batch: batch}
		x := New(d, port(t, web()), FilterOptions{Answers: Answers{Reject: reject, Rate: 1 << 30, Burst: 1 << 30}})
		bufs, sizes := buffers(8, 16)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if n, err := x.Read(bufs, sizes, 16); n != 2 || err != nil {
				t.Fatal(n, err)
			}
			if n, err := x.Write(back, 0); n != 4 || err != nil {
				t.Fatal(n, err)
			}
			for x.queue != nil && x.queue.len.Load() > 0 {
				x.queue.pop(bufs, sizes, 0, x.answers)
			}
		}))
		if reject {
			require.NotZero(t, x.Stats().Answers.Sent)
		}
	}
}

// loopDevice reads the same batch for ever, and writes nowhere.
type loopDevice struct{ batch [][]byte }

func (d *loopDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for i, p := range d.batch {
		sizes[i] = copy(bufs[i][offset:], p)
	}
	return len(d.batch), nil
}

func (d *loopDevice) Write(bufs [][]byte, _ int) (int, error) { return len(bufs), nil }
func (d *loopDevice) BatchSize() int                          { return len(d.batch) }
func (d *loopDevice) Close() error                            { return nil }
