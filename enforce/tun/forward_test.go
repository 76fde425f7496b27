package tun

import (
	"encoding/binary"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
)

// newTestForwarder returns a forwarder into a link with those offloads.
func newTestForwarder(o Offload, p *enforce.Port, a Answers) (*forwarder, *memLink, *memLink) {
	from, to := newMemLink(allOffloads), newMemLink(o)
	return newForwarder(from, to, p, nil, newAnswerer(a), GatewayOptions{}), from, to
}

// bare returns the packets of frames that ask for nothing.
func bare(t require.TestingT, frames [][]byte) [][]byte {
	var out [][]byte
	for _, f := range frames {
		require.Equal(t, make([]byte, HeaderLen), f[:HeaderLen])
		out = append(out, f[HeaderLen:])
	}
	return out
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

// A super-packet that the way out takes leaves as it came, but for the hint.
func TestForwardWhole(t *testing.T) {
	for _, pkt := range [][]byte{tcpData(local4, remote4, 40000), tcpData(local6, remote6, 40000), udp(local4, remote4, 53, 40000), udp(local6, remote6, 53, 40000)} {
		w, from, to := newTestForwarder(allOffloads, nil, Answers{})
		b := super(pkt, 1400)
		binary.NativeEndian.PutUint16(b[2:], 20000) // where the kernel's linear part ends
		want := clone(b)
		require.NoError(t, w.forward(b))
		require.Len(t, to.got(), 1)
		got := to.got()[0]
		require.Equal(t, want[HeaderLen:], got[HeaderLen:])
		var h, was header
		h.decode(got)
		was.decode(want)
		was.hdrLen = h.hdrLen
		require.Equal(t, was, h)
		require.Less(t, int(h.hdrLen), 100)
		require.Empty(t, from.got())
		require.Equal(t, Traffic{1, uint64(len(pkt))}, w.super.load())
		require.Equal(t, w.in.load(), w.out.load())
	}
}

// An open checksum stays open where the way out fills it in, and else does not.
func TestForwardChecksum(t *testing.T) {
	want := udp(local4, remote4, 53, 100)
	pkt := clone(want)
	b := framed(partial(pkt), pkt)
	w, _, to := newTestForwarder(OffloadChecksum, nil, Answers{})
	require.NoError(t, w.forward(clone(b)))
	require.Equal(t, [][]byte{b}, to.got())
	w, _, to = newTestForwarder(0, nil, Answers{})
	require.NoError(t, w.forward(clone(b)))
	require.Equal(t, [][]byte{want}, bare(t, to.got()))
}

// Whatever the way out takes, what arrives is the same: the oracle is the
// slow splitter.
func TestForwardProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSpec(t)
		size := rapid.IntRange(max(minTCP, len(s.data)/maxUDP+1), 1400).Draw(t, "size")
		offload := Offload(rapid.IntRange(0, int(allOffloads)).Draw(t, "offload"))
		want := slowSplit(s, size)
		w, from, to := newTestForwarder(offload, nil, Answers{})
		if rapid.Bool().Draw(t, "refuses") {
			to.refuse = func(h header) error {
				if h.needs() != 0 {
					return syscall.EINVAL
				}
				return nil
			}
		}
		require.NoError(t, w.forward(super(s.build(), uint16(size))))
		var got [][]byte
		for _, b := range to.got() {
			var f frame
			require.True(t, f.parse(b))
			require.True(t, offload.Has(f.h.needs()))
			if f.h.gso == gsoNone {
				f.complete()
				got = append(got, f.pkt)
				continue
			}
			var r segments
			for r.cut(&f); r.rest(); {
				dst := make([]byte, r.size())
				r.write(dst)
				got = append(got, dst)
			}
		}
		require.Equal(t, want, got)
		require.Empty(t, from.got())
		require.Zero(t, w.drops.load())
	})
}

// A kernel that accepts offloads and then refuses frames gets them cut up; it
// is asked again for a while, and no longer after that.
func TestForwardRefused(t *testing.T) {
	frame := super(tcpData(local4, remote4, 4000), 1400)
	w, _, to := newTestForwarder(allOffloads, nil, Answers{})
	asked := 0
	refuse := true
	to.refuse = func(h header) error {
		if h.gso != gsoNone {
			asked++
			if refuse {
				return syscall.EINVAL
			}
		}
		return nil
	}
	for range enough - 1 {
		require.NoError(t, w.forward(clone(frame)))
	}
	refuse = false
	require.NoError(t, w.forward(clone(frame)))
	require.Equal(t, enough, asked, "one that passes ends the row")
	refuse = true
	for range 3 * enough {
		require.NoError(t, w.forward(clone(frame)))
	}
	require.Equal(t, 2*enough, asked)
	require.EqualValues(t, 2*enough-1, w.refused.Load())
	require.Zero(t, w.drops.load())
	require.EqualValues(t, 1, w.super.packets.Load())
	require.EqualValues(t, 4*enough-1, w.split.Load())
	// Another kind of frame has a row of its own.
	refuse = false
	require.NoError(t, w.forward(super(tcpData(local4, remote4, 4000), 1400)))
	require.NoError(t, w.forward(super(udp(local4, remote4, 53, 4000), 1400)))
	require.EqualValues(t, 2, w.super.packets.Load())
}

func TestForwardPolicy(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := port(t, web())
		w, from, to := newTestForwarder(allOffloads, p, Answers{Reject: true})
		require.NoError(t, w.forward(framed(header{}, syn(f.local, f.remote, 443))))
		require.NoError(t, w.forward(framed(header{}, syn(f.local, f.remote, 22))))
		require.Len(t, to.got(), 1)
		require.Len(t, from.got(), 1, "the answer")
		require.True(t, decode(t, bare(t, from.got())[0]).TransportLayer().(*layers.TCP).RST)
		require.Equal(t, Drops{Policy: 1}, w.drops.load())

		// A refused super-packet is answered once, about all of it.
		require.NoError(t, w.forward(super(udp(f.local, f.remote, 9, 4000), 1400)))
		require.Len(t, from.got(), 2)
		decode(t, bare(t, from.got())[1])

		// The port of the other end polices too.
		w = newForwarder(from, to, nil, p, newAnswerer(Answers{}), GatewayOptions{})
		require.NoError(t, w.forward(framed(header{}, syn(f.remote, f.local, 443))))
		require.NoError(t, w.forward(framed(header{}, syn(f.remote, f.local, 22))))
		require.Len(t, to.got(), 2)
		require.Len(t, from.got(), 2)
	})
}

// Without a port, what nobody can decode passes if it fits.
func TestForwardUnpoliced(t *testing.T) {
	w, from, to := newTestForwarder(allOffloads, nil, Answers{})
	require.NoError(t, w.forward(framed(header{}, []byte{0x10, 1, 2})))
	require.NoError(t, w.forward(framed(header{}, make([]byte, 1501))))
	require.Len(t, to.got(), 1)
	require.Empty(t, from.got())
	require.Equal(t, Drops{TooBig: 1}, w.drops.load())
	w.egress = port(t, everything())
	require.NoError(t, w.forward(framed(header{}, []byte{0x10, 1, 2})))
	require.Len(t, to.got(), 1)
	require.EqualValues(t, 1, w.drops.load().Malformed)
}

func TestForwardMTU(t *testing.T) {
	df := spec{src: local4, dst: remote4, proto: layers.IPProtocolUDP, sport: 1, dport: 53, df: true, data: pattern(2000)}
	free := df
	free.df, free.id = false, 77
	t.Run("answered", func(t *testing.T) {
		for _, pkt := range [][]byte{df.build(), udp(local6, remote6, 53, 2000)} {
			w, from, to := newTestForwarder(allOffloads, nil, Answers{})
			require.NoError(t, w.forward(framed(header{}, pkt)))
			require.Empty(t, to.got())
			require.Len(t, from.got(), 1)
			decode(t, bare(t, from.got())[0])
			require.Equal(t, Drops{TooBig: 1}, w.drops.load())
			to.mtu = len(pkt)
			require.NoError(t, w.forward(framed(header{}, pkt)))
			to.mtu = 0
			require.NoError(t, w.forward(framed(header{}, pkt)))
			require.Len(t, to.got(), 2)
		}
	})
	t.Run("segments above it", func(t *testing.T) {
		pkt := spec{src: local4, dst: remote4, dport: 443, flags: "A", df: true, data: pattern(20000)}.build()
		w, from, to := newTestForwarder(allOffloads, nil, Answers{})
		require.NoError(t, w.forward(super(clone(pkt), 1461)))
		require.Empty(t, to.got())
		require.Len(t, from.got(), 1)
		icmp := decode(t, bare(t, from.got())[0]).Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		require.EqualValues(t, 1500, icmp.Seq)
		require.NoError(t, w.forward(super(clone(pkt), 1460)))
		require.Len(t, to.got(), 1)
	})
	t.Run("fragmented", func(t *testing.T) {
		w, _, to := newTestForwarder(allOffloads, nil, Answers{})
		want := free.build()
		pkt := clone(want)
		require.NoError(t, w.forward(framed(partial(pkt), pkt)))
		got := bare(t, to.got())
		require.Len(t, got, 2)
		require.Equal(t, want[20:], reassemble(t, got))
		require.EqualValues(t, 1, w.fragmented.Load())
		to.mtu = 20
		require.NoError(t, w.forward(framed(header{}, want)))
		require.Equal(t, Drops{TooBig: 1}, w.drops.load(), "no room for data")
	})
	t.Run("segments fragmented", func(t *testing.T) {
		w, _, to := newTestForwarder(allOffloads, nil, Answers{})
		to.mtu = 800
		long := free
		long.data = pattern(2500)
		require.NoError(t, w.forward(super(long.build(), 1000)))
		got := bare(t, to.got())
		require.Len(t, got, 5, "two of 1,028 bytes in two, one of 528 whole")
		want := slowSplit(long, 1000)
		require.Equal(t, want[0][20:], reassemble(t, got[:2]))
		require.Equal(t, want[2], got[4])
	})
}

// What the device does not take is counted, and ends the gateway only if the
// device is closed.
func TestForwardDeviceErrors(t *testing.T) {
	frames := [][]byte{
		framed(header{}, syn(local4, remote4, 443)), super(tcpData(local4, remote4, 3000), 1400), framed(header{}, udp(local4, remote4, 53, 2000)),
	}
	for _, f := range frames {
		w, _, to := newTestForwarder(allOffloads, nil, Answers{})
		to.refuse = func(header) error { return syscall.EIO }
		require.NoError(t, w.forward(clone(f)))
		require.NotZero(t, w.drops.load().Device)
		require.Zero(t, w.out.load())
		to.refuse = func(header) error { return os.ErrClosed }
		require.ErrorIs(t, w.forward(clone(f)), os.ErrClosed)
	}
	// The same when an answer goes back.
	w, from, _ := newTestForwarder(allOffloads, port(t, web()), Answers{Reject: true})
	from.refuse = func(header) error { return syscall.ENOBUFS }
	require.NoError(t, w.forward(framed(header{}, syn(local4, remote4, 22))))
	require.EqualValues(t, 1, w.answers.stats().Lost)
	from.refuse = func(header) error { return os.ErrClosed }
	require.ErrorIs(t, w.forward(framed(header{}, syn(local4, remote4, 22))), os.ErrClosed)
	var stop atomic.Bool
	from.frames <- framed(header{}, syn(local4, remote4, 22))
	require.ErrorIs(t, w.run(&stop), os.ErrClosed)
	// Cut up, into a device that closes meanwhile.
	w, _, to := newTestForwarder(0, nil, Answers{})
	to.refuse = func(header) error { return os.ErrClosed }
	require.ErrorIs(t, w.forward(super(tcpData(local4, remote4, 3000), 1400)), os.ErrClosed)
}

func TestForwardAllocs(t *testing.T) {
	df := spec{src: local4, dst: remote4, proto: layers.IPProtocolUDP, sport: 1, dport: 53, df: true, data: pattern(2000)}
	for _, c := range []struct {
		name    string
		offload Offload
		frame   []byte
	}{
		{"whole", allOffloads, super(udp(local4, remote4, 53, 40000), 1400)},
		{"cut", 0, super(udp(local4, remote4, 53, 40000), 1400)},
		{"fragmented", 0, framed(header{}, udp(local4, remote4, 53, 3000))},
		{"too big", allOffloads, framed(header{}, df.build())},
		{"small", allOffloads, framed(header{}, udp(local6, remote6, 53, 10))},
		{"refused", allOffloads, framed(header{}, udp(local6, remote6, 54, 10))},
		{"hostile", allOffloads, framed(header{flags: 1, start: 60000}, udp(local6, remote6, 54, 10))},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := &nullLink{offload: c.offload}, &nullLink{offload: c.offload}
			w := newForwarder(from, to, port(t, web()), port(t, everything()), newAnswerer(Answers{Reject: true, Rate: 1 << 30, Burst: 1 << 30}), GatewayOptions{})
			b := make([]byte, len(c.frame))
			require.Zero(t, testing.AllocsPerRun(100, func() {
				copy(b, c.frame)
				if err := w.forward(b); err != nil {
					t.Fatal(err)
				}
			}))
			require.NotZero(t, from.writes+to.writes+int(w.drops.load().Header))
		})
	}
}

// nullLink counts what it is given.
type nullLink struct {
	offload Offload
	writes  int
	bytes   int
}

func (l *nullLink) ReadFrame([]byte) (int, error) { return 0, os.ErrClosed }
func (l *nullLink) Interrupt()                    {}
func (l *nullLink) MTU() int                      { return 1500 }
func (l *nullLink) Offload() Offload              { return l.offload }
func (l *nullLink) WriteFrame(b []byte) error {
	l.writes++
	l.bytes += len(b) - HeaderLen
	return nil
}

// FuzzForward forwards any frame to any kind of device. Whatever comes out is
// a frame that can be believed, fits the device, and goes to where the frame
// that came in went; nothing of the headers that a verdict saw has changed.
func FuzzForward(f *testing.F) {
	for _, pkt := range [][]byte{tcpData(local4, remote4, 3000), tcpData(local6, remote6, 3000), udp(local4, remote4, 53, 3000), udp(local6, remote6, 53, 3000)} {
		f.Add(super(clone(pkt), 1400), uint8(allOffloads), uint16(1500), true)
		f.Add(super(clone(pkt), 700), uint8(0), uint16(600), false)
		f.Add(framed(partial(pkt), pkt), uint8(OffloadChecksum), uint16(1280), true)
	}
	f.Add(framed(header{}, echo(local4, remote4, 8)), uint8(0), uint16(40), true)
	allowAll := port(f, everything())
	f.Fuzz(func(t *testing.T, b []byte, offload uint8, mtu uint16, policed bool) {
		w, from, to := newTestForwarder(Offload(offload)&allOffloads, nil, Answers{Reject: true, Rate: 1 << 30, Burst: 1 << 30})
		if policed {
			w.egress = allowAll
		}
		to.mtu = int(mtu)
		in := clone(b)
		require.NoError(t, w.forward(b))
		var was packet.Packet
		known := len(in) > HeaderLen && packet.Decode(in[HeaderLen:], &was) == nil
		bytes := 0
		for _, out := range to.got() {
			var g frame
			require.True(t, g.parse(out), "%x", out)
			require.True(t, to.offload.Has(g.h.needs()))
			require.True(t, mtu == 0 || g.longest() <= int(mtu))
			bytes += len(g.pkt)
			require.True(t, known || !g.known, "what can not be decoded does not become decodable")
			if !g.known {
				require.False(t, policed)
				continue
			}
			want := was.Tuple
			if g.p.Trailing() && !was.Trailing() {
				want.SrcPort, want.DstPort = 0, 0
			}
			require.Equal(t, want, g.p.Tuple)
			require.True(t, was.Tuple.Family == 6 || packet.ChecksumIPv4(in[HeaderLen:]), "what is damaged goes no further")
			require.True(t, was.Tuple.Family == 6 || packet.ChecksumIPv4(g.pkt))
		}
		require.LessOrEqual(t, len(to.got()), len(in))
		for _, out := range from.got() {
			require.Equal(t, make([]byte, HeaderLen), out[:HeaderLen])
			require.Empty(t, badChecksum(out[HeaderLen:]))
			var p packet.Packet
			require.NoError(t, packet.Decode(out[HeaderLen:], &p))
			require.Equal(t, was.Tuple.Dst, p.Tuple.Src)
			require.Equal(t, was.Tuple.Src, p.Tuple.Dst)
			require.LessOrEqual(t, len(out)-HeaderLen, len(in)-HeaderLen+48)
		}
		s := w.out.load()
		require.EqualValues(t, len(to.got()), s.Packets)
		require.EqualValues(t, bytes, s.Bytes)
		if len(to.got()) == 0 {
			require.NotZero(t, w.drops.load().Total())
		}
	})
}
