package tun

import (
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// Bytes behind the packet pass neither way: no verdict covers them. The room
// behind the packet is left to the device, which may join packets there.
func TestFilterPadding(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		out, in := udp(f.local, f.remote, 53, 20), udp(f.remote, f.local, 53, 20)
		padded := func(b []byte) []byte { return append(clone(b), pattern(600)...) }
		no := padded(syn(f.local, f.remote, 22))
		d := newMemDevice(memRead{pkts: [][]byte{padded(out), no, padded(out), out}})
		x := New(d, port(t, web()), FilterOptions{Answers: Answers{Reject: true}})
		const offset = 9
		bufs, sizes := buffers(8, offset)
		n, err := x.Read(bufs, sizes, offset)
		require.NoError(t, err)
		require.Equal(t, [][]byte{out, out, out}, packets(bufs, sizes, n, offset))
		require.Equal(t, PathStats{Passed: Traffic{3, uint64(3 * len(out))}, Drops: Drops{Policy: 1}}, x.Stats().Egress)
		answers := len(d.got())
		require.Equal(t, 1, answers)

		buf := append(make([]byte, offset), padded(in)...)
		n, err = x.Write([][]byte{buf, append(make([]byte, offset), in...)}, offset)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		require.Equal(t, [][]byte{in, in}, d.got()[answers:])
		require.Equal(t, PathStats{Passed: Traffic{2, uint64(2 * len(in))}}, x.Stats().Ingress)

		// An answer quotes the packet, not what is behind it.
		d = newMemDevice(memRead{pkts: [][]byte{padded(udp(f.local, f.remote, 54, 20))}}, memRead{err: io.EOF})
		x = New(d, port(t, web()), FilterOptions{Answers: Answers{Reject: true}})
		_, err = x.Read(bufs, sizes, offset)
		require.ErrorIs(t, err, io.EOF)
		require.Len(t, d.got(), 1)
		require.Len(t, d.got()[0], map[string]int{"ipv4": 28, "ipv6": 48}[f.name]+len(out))
	})
	// Lengths that lie are refused as ever, whatever stands behind.
	for _, b := range [][]byte{
		{}, {0x45}, make([]byte, 700), append([]byte{0x45, 0, 0, 19}, make([]byte, 60)...), append([]byte{0x60}, make([]byte, 99)...), {0x60, 0, 0, 0, 0, 0},
	} {
		x := New(newMemDevice(), port(t, everything()), FilterOptions{})
		n, err := x.Write([][]byte{b}, 0)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.EqualValues(t, 1, x.Stats().Ingress.Drops.Malformed, "%x", b)
	}
}

// A wrong header checksum of IPv4 is dropped both ways, before the policy: it
// opens no flow, and is not answered.
func TestFilterChecksum(t *testing.T) {
	spoil := func(b []byte) []byte {
		b[10] ^= 0xff
		return b
	}
	options := spec{
		src: local4, dst: remote4, proto: layers.IPProtocolUDP, dport: 53, ipOptions: []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}},
	}.build()
	yes := udp(local4, remote4, 53, 7)
	d := newMemDevice(memRead{pkts: [][]byte{spoil(clone(options)), spoil(udp(local4, remote4, 53, 0)), yes, options, spoil(syn(local4, remote4, 22))}})
	x := New(d, port(t, web()), FilterOptions{Answers: Answers{Reject: true}})
	bufs, sizes := buffers(8, 0)
	n, err := x.Read(bufs, sizes, 0)
	require.NoError(t, err)
	require.Equal(t, [][]byte{yes, options}, packets(bufs, sizes, n, 0))
	require.Equal(t, Drops{Checksum: 3}, x.Stats().Egress.Drops)
	require.Empty(t, d.got())

	in := udp(remote4, local4, 53, 9)
	bad := spoil(clone(in))
	n, err = x.Write([][]byte{bad, in, bad, in}, 0)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.Equal(t, [][]byte{in, in}, d.got())
	require.Equal(t, PathStats{Passed: Traffic{2, uint64(2 * len(in))}, Drops: Drops{Checksum: 2}}, x.Stats().Ingress)

	d.writeN, d.writeErr = 1, io.ErrShortWrite
	n, err = x.Write([][]byte{bad, in, bad, in}, 0)
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.Equal(t, 3, n, "places in the batch of the caller")
}

// Buffers need not be of one size: a packet that does not fit where it moves is
// dropped, not cut off.
func TestFilterReadShortBuffer(t *testing.T) {
	no, long, short := syn(local4, remote4, 22), udp(local4, remote4, 53, 500), udp(local4, remote4, 53, 5)
	d := newMemDevice(memRead{pkts: [][]byte{no, long, short, long}})
	x := New(d, port(t, web()), FilterOptions{})
	bufs := [][]byte{make([]byte, 100), make([]byte, 600), make([]byte, 100), make([]byte, 600)}
	sizes := make([]int, 4)
	n, err := x.Read(bufs, sizes, 3)
	require.NoError(t, err)
	require.Equal(t, [][]byte{short, long}, packets(bufs, sizes, n, 3))
	require.Equal(t, PathStats{Passed: Traffic{2, uint64(len(short) + len(long))}, Drops: Drops{Policy: 1, TooBig: 1}}, x.Stats().Egress)

	// All that is left of a batch was too long: that is no batch.
	d.reads <- memRead{pkts: [][]byte{no, long}}
	d.reads <- memRead{err: io.EOF}
	n, err = x.Read(bufs, sizes, 0)
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, n)
}

// After Close a Write fails, whatever it would have dropped.
func TestFilterWriteClosed(t *testing.T) {
	x := New(newMemDevice(), port(t, web()), FilterOptions{})
	require.NoError(t, x.Close())
	for _, pkt := range [][]byte{syn(remote4, local4, 22), syn(remote4, local4, 443)} {
		n, err := x.Write([][]byte{pkt}, 0)
		require.ErrorIs(t, err, os.ErrClosed)
		require.Zero(t, n)
	}
	require.Zero(t, x.Stats())
}

// bellRaw is a rawQueue that has packets to read as the test sends them, and
// can be interrupted.
type bellRaw struct {
	memRaw
	in   chan []byte
	bell chan struct{}
	down chan struct{}
}

func newBellRaw() *bellRaw {
	return &bellRaw{in: make(chan []byte, 8), bell: make(chan struct{}, 1), down: make(chan struct{})}
}

func (r *bellRaw) read(b []byte, wait bool) (int, error) {
	if !wait {
		select {
		case pkt := <-r.in:
			return copy(b, pkt), nil
		default:
			return 0, errNone
		}
	}
	select { // as fdQueue does: interrupts first
	case <-r.bell:
		return 0, ErrInterrupted
	default:
	}
	select {
	case <-r.bell:
		return 0, ErrInterrupted
	case pkt := <-r.in:
		return copy(b, pkt), nil
	case <-r.down:
		return 0, os.ErrClosed
	}
}

func (r *bellRaw) interrupt() {
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

func (r *bellRaw) close() error {
	close(r.down)
	return nil
}

// The caller's interrupts are the caller's, also where the Filter interrupts
// the device itself, and when both come at once.
func TestFilterInterrupts(t *testing.T) {
	no, out := syn(remote4, local4, 22), syn(local4, remote4, 443)
	bufs, sizes := buffers(4, 0)
	type interrupter interface {
		Device
		Interrupt()
	}
	for name, device := range map[string]func() (d interrupter, in func(b []byte)){
		"queue": func() (interrupter, func([]byte)) {
			r := newBellRaw()
			return newTUN("tun7", 0, &memControl{}, []rawQueue{r}).Queues()[0], func(b []byte) { r.in <- b }
		},
		"other": func() (interrupter, func([]byte)) {
			d := wokenDevice{newMemDevice()}
			return d, func(b []byte) { d.reads <- memRead{pkts: [][]byte{b}} }
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, in := device()
			x := New(d, port(t, web()), FilterOptions{Answers: Answers{Reject: true}})
			reads := func(want []byte, wantErr error) {
				t.Helper()
				n, err := x.Read(bufs, sizes, 0)
				if wantErr != nil {
					require.ErrorIs(t, err, wantErr)
					require.Zero(t, n)
					return
				}
				require.NoError(t, err)
				require.Equal(t, 1, n)
				if want != nil {
					require.Equal(t, want, bufs[0][:sizes[0]])
				}
			}
			d.Interrupt()
			reads(nil, ErrInterrupted)

			// Its own is seen by nobody, not even late: the answer is out before.
			_, err := x.Write([][]byte{no}, 0)
			require.NoError(t, err)
			reads(nil, nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				reads(out, nil)
			}()
			if name == "queue" { // interrupts come before packets there
				eventuallyEmpty(t, d.(*Queue).raw.(*bellRaw).bell)
			} else {
				eventuallyEmpty(t, d.(wokenDevice).bell)
			}
			in(out)
			<-done
			d.Interrupt()
			reads(nil, ErrInterrupted)

			if name == "queue" {
				// Both at once, in either order.
				for _, first := range []func(){d.Interrupt, func() {}} {
					first()
					_, err = x.Write([][]byte{no}, 0)
					require.NoError(t, err)
					d.Interrupt()
					reads(nil, nil) // the answer
					reads(nil, ErrInterrupted)
					in(out)
					reads(out, nil)
				}
			}
			require.NoError(t, x.Close())
			reads(nil, os.ErrClosed)
		})
	}
}

// eventuallyEmpty waits until somebody heard the bell.
func eventuallyEmpty(t *testing.T, bell chan struct{}) {
	t.Helper()
	for len(bell) > 0 {
		runtime.Gosched()
	}
}

// Waking errors are interrupts for those who know no others.
func TestWoken(t *testing.T) {
	r := newBellRaw()
	q := newTUN("tun7", 0, &memControl{}, []rawQueue{r}).Queues()[0]
	q.wake()
	_, err := q.ReadFrame(make([]byte, FrameSize))
	require.ErrorIs(t, err, ErrInterrupted)
	require.False(t, errors.Is(err, syscall.EINVAL))
}
