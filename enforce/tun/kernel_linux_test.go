package tun

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// Addresses of the two hosts that the gateway joins.
const (
	clientNet4, serverNet4 = "10.77.0.1/24", "10.77.0.2/24"
	clientNet6, serverNet6 = "fd77::1/64", "fd77::2/64"
	server4, server6       = "10.77.0.2", "fd77::2"
)

// patience is how long a step may take that has to happen. Nothing waits that
// long unless it fails.
const patience = 20 * time.Second

// eventually waits for what another goroutine is about to count.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

func timedOut(t *testing.T, err error) {
	t.Helper()
	var e net.Error
	require.ErrorAs(t, err, &e)
	require.True(t, e.Timeout(), "%v", err)
}

// rig is two hosts, each in a namespace, with a gateway between their TUNs.
// The client's interface is the one that is policed.
type rig struct {
	client, server *namespace
	clientTUN      *TUN
	serverTUN      *TUN
	engine         *enforce.Engine
	gateway        *Gateway
	t              *testing.T
	stopped        chan error
	cancel         context.CancelFunc
}

func newRig(t *testing.T, client, server Options, o GatewayOptions) *rig {
	r := &rig{t: t, client: newNamespace(t), server: newNamespace(t), engine: enforce.NewEngine(enforce.Options{})}
	r.clientTUN = r.client.open(client, clientNet4, clientNet6)
	r.serverTUN = r.server.open(server, serverNet4, serverNet6)
	g, err := NewGateway(End{Links: r.clientTUN.Links(), Port: r.engine.Port("i")}, End{Links: r.serverTUN.Links()}, o)
	require.NoError(t, err)
	r.gateway = g
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.stopped = cancel, make(chan error, 1)
	go func() { r.stopped <- g.Run(ctx) }()
	t.Cleanup(func() { cancel(); r.end() })
	return r
}

// end waits for Run.
func (r *rig) end() error {
	select {
	case err := <-r.stopped:
		r.stopped <- err
		return err
	case <-time.After(patience):
		r.t.Error("Run did not end")
		return nil
	}
}

func (r *rig) apply(rules []sg.Rule) {
	r.t.Helper()
	require.NoError(r.t, r.engine.Apply(r.t.Context(), matcher(r.t, rules)))
}

// listen listens at the server.
func (r *rig) listen(network, addr string) net.Listener {
	r.t.Helper()
	var l net.Listener
	var err error
	r.server.do(func() { l, err = net.Listen(network, addr) })
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = l.Close() })
	return l
}

// dial connects from the client.
func (r *rig) dial(network, addr string, patience time.Duration) (net.Conn, error) {
	var c net.Conn
	var err error
	r.client.do(func() { c, err = net.DialTimeout(network, addr, patience) })
	if err == nil {
		r.t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
	}
	return c, err
}

// serve answers every connection with the SHA-256 of what it read, then ends.
func serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			h := sha256.New()
			if _, err := io.Copy(h, c); err == nil {
				_, _ = c.Write(h.Sum(nil))
			}
		}()
	}
}

// transfer sends n bytes to the server and compares its checksum.
func (r *rig) transfer(network, addr string, n int) {
	r.t.Helper()
	c, err := r.dial(network, addr, patience)
	require.NoError(r.t, err)
	data := pattern(n)
	_, err = c.Write(data)
	require.NoError(r.t, err)
	require.NoError(r.t, c.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(r.t, err)
	want := sha256.Sum256(data)
	require.Equal(r.t, want[:], got)
	_ = c.Close()
}

// Large transfers arrive intact, and cross the gateway as super-packets.
func TestKernelTransfer(t *testing.T) {
	for _, queues := range []int{1, 2} {
		t.Run(fmt.Sprintf("queues=%d", queues), func(t *testing.T) {
			r := newRig(t, Options{Queues: queues}, Options{Queues: queues}, GatewayOptions{})
			require.True(t, r.clientTUN.Offload().Has(OffloadChecksum|OffloadTSO), "%v", r.clientTUN.Offload())
			r.apply(web())
			for _, c := range []struct{ network, addr string }{{"tcp4", server4 + ":443"}, {"tcp6", "[" + server6 + "]:443"}} {
				go serve(r.listen(c.network, c.addr))
				before := r.gateway.Stats().AtoB
				r.transfer(c.network, c.addr, 8<<20)
				s := r.gateway.Stats().AtoB
				super := Traffic{s.Super.Packets - before.Super.Packets, s.Super.Bytes - before.Super.Bytes}
				require.NotZero(t, super.Packets)
				require.Greater(t, super.Bytes, super.Packets*1500, "super-packets are longer than the MTU")
				require.Greater(t, super.Bytes, uint64(4<<20), "most of it")
				require.Zero(t, s.Split)
				require.Zero(t, s.Drops.Header+s.Drops.Malformed+s.Drops.Device, "%+v", s.Drops)
			}
		})
	}
}

// Where a side has no offloads, the gateway cuts and completes for it.
func TestKernelFallback(t *testing.T) {
	for _, c := range []struct {
		name           string
		client, server Options
	}{
		{"into plain", Options{}, Options{NoOffload: true}},
		{"out of plain", Options{NoOffload: true}, Options{}},
		{"plain", Options{NoOffload: true}, Options{NoOffload: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.client, c.server, GatewayOptions{})
			r.apply(web())
			for _, c := range []struct{ network, addr string }{{"tcp4", server4 + ":443"}, {"tcp6", "[" + server6 + "]:443"}} {
				go serve(r.listen(c.network, c.addr))
				r.transfer(c.network, c.addr, 4<<20)
			}
			s := r.gateway.Stats()
			require.Zero(t, s.AtoB.Super.Packets)
			if !c.client.NoOffload {
				require.NotZero(t, s.AtoB.Split)
			}
		})
	}
}

// UDP super-packets, sent with UDP_SEGMENT, arrive as the datagrams they are.
func TestKernelUDP(t *testing.T) {
	for _, c := range []struct {
		name   string
		server Options
	}{{"offload", Options{}}, {"plain", Options{NoOffload: true}}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{}, c.server, GatewayOptions{})
			if !r.clientTUN.Offload().Has(OffloadUSO) {
				t.Skip("the kernel knows no UDP segmentation offload: before Linux 6.2")
			}
			r.apply(web())
			for _, addr := range []string{server4 + ":53", "[" + server6 + "]:53"} {
				var in net.PacketConn
				var err error
				r.server.do(func() { in, err = net.ListenPacket("udp", addr) })
				require.NoError(t, err)
				defer in.Close()
				_ = in.SetDeadline(time.Now().Add(patience))
				out, err := r.dial("udp", addr, patience)
				require.NoError(t, err)
				const size, count = 1000, 20
				sent := sendSegments(t, out.(*net.UDPConn), pattern(size*count-10), size)
				for i := range count {
					buf := make([]byte, 2*size)
					n, _, err := in.ReadFrom(buf)
					require.NoError(t, err, "datagram %d", i)
					require.Equal(t, sent[i*size:min((i+1)*size, len(sent))], buf[:n])
				}
			}
			eventually(t, func() bool {
				s := r.gateway.Stats().AtoB
				if c.server.NoOffload {
					return s.Split == 2 && s.Super.Packets == 0
				}
				return s.Super.Packets == 2 && s.Split == 0
			})
		})
	}
}

// sendSegments sends data as one super-packet of datagrams of that size.
func sendSegments(t *testing.T, c *net.UDPConn, data []byte, size int) []byte {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	var failed error
	require.NoError(t, raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size)
	}))
	require.NoError(t, failed)
	_, err = c.Write(data)
	require.NoError(t, err)
	return data
}

// Before the first policy nothing passes, in either direction.
func TestKernelNoPolicy(t *testing.T) {
	r := newRig(t, Options{}, Options{}, GatewayOptions{Answers: Answers{Reject: true}})
	l := r.listen("tcp4", server4+":443")
	go serve(l)
	_, err := r.dial("tcp4", server4+":443", 300*time.Millisecond)
	timedOut(t, err)
	s := r.gateway.Stats()
	require.NotZero(t, s.AtoB.Drops.NoPolicy)
	require.Zero(t, s.AtoB.Out.Packets)
	require.Zero(t, s.BtoA.Out.Packets)
	require.Zero(t, s.AtoB.Answers.Sent, "it will pass in a moment")
	r.apply(web())
	r.transfer("tcp4", server4+":443", 1000)
}

// A policy that takes the rule away stalls the connection, and lets no new one
// in.
func TestKernelPolicySwap(t *testing.T) {
	r := newRig(t, Options{}, Options{}, GatewayOptions{})
	r.apply(web())
	l := r.listen("tcp4", server4+":443")
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(c, c)
		}
	}()
	c, err := r.dial("tcp4", server4+":443", patience)
	require.NoError(t, err)
	echoes := func(wait time.Duration) error {
		_ = c.SetDeadline(time.Now().Add(wait))
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		var b [1]byte
		_, err := io.ReadFull(c, b[:])
		return err
	}
	require.NoError(t, echoes(patience))
	r.apply(web()[1:2]) // UDP only
	timedOut(t, echoes(300*time.Millisecond))
	require.NotZero(t, r.gateway.Stats().AtoB.Drops.Policy+r.gateway.Stats().AtoB.Drops.State)
	_, err = r.dial("tcp4", server4+":443", 300*time.Millisecond)
	timedOut(t, err)
}

// A refused connection is refused at once, a refused datagram reported.
func TestKernelReject(t *testing.T) {
	r := newRig(t, Options{}, Options{}, GatewayOptions{Answers: Answers{Reject: true}})
	r.apply(web())
	for _, host := range []string{server4, "[" + server6 + "]"} {
		_, err := r.dial("tcp", host+":22", patience)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		c, err := r.dial("udp", host+":2222", patience)
		require.NoError(t, err)
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = c.Write([]byte("x"))
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		require.True(t, errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.EACCES), "%v", err)
	}
	// The other way: from the server to a port of the client.
	for _, addr := range []string{"10.77.0.1:22", "[fd77::1]:22"} {
		var err error
		r.server.do(func() { _, err = net.DialTimeout("tcp", addr, patience) })
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	}
	// The answer arrives before it is counted. Others are what namespace.ready
	// sent while the kernel had no route yet.
	eventually(t, func() bool {
		s := r.gateway.Stats()
		return s.AtoB.Answers.Sent >= 4 && s.BtoA.Answers.Sent >= 2
	})
}

// A packet above the MTU of the way out is answered, and its sender then sends
// smaller ones: a transfer works although nobody configured the MTU.
func TestKernelMTU(t *testing.T) {
	r := newRig(t, Options{MTU: 9000}, Options{MTU: 1400}, GatewayOptions{})
	r.apply(web())
	for _, c := range []struct{ network, addr string }{{"tcp4", server4 + ":443"}, {"tcp6", "[" + server6 + "]:443"}} {
		// The server offers segments for its own MTU, so TCP is in step from
		// the start. UDP is not.
		go serve(r.listen(c.network, c.addr))
		r.transfer(c.network, c.addr, 1<<20)
	}
	for _, c := range []struct {
		addr     string
		discover func(fd int) error
	}{
		{server4 + ":53", func(fd int) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		}},
		{"[" + server6 + "]:53", func(fd int) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		}},
	} {
		conn, err := r.dial("udp", c.addr, patience)
		require.NoError(t, err)
		raw, err := conn.(*net.UDPConn).SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) { err = c.discover(int(fd)) }))
		require.NoError(t, err)
		_, err = conn.Write(pattern(5000))
		require.NoError(t, err)
		_, err = conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.EMSGSIZE, "the answer")
		_, err = conn.Write(pattern(5000))
		require.ErrorIs(t, err, syscall.EMSGSIZE, "the route knows the MTU now")
		_, err = conn.Write(pattern(1300))
		require.NoError(t, err)
	}
	eventually(t, func() bool {
		s := r.gateway.Stats().AtoB
		return s.Drops.TooBig == 2 && s.Answers.Sent == 2
	})
}

// IPv4 without the don't-fragment bit is fragmented, and put together again.
func TestKernelFragments(t *testing.T) {
	r := newRig(t, Options{MTU: 9000}, Options{MTU: 1400}, GatewayOptions{})
	r.apply(web())
	var in net.PacketConn
	var err error
	r.server.do(func() { in, err = net.ListenPacket("udp4", server4+":53") })
	require.NoError(t, err)
	defer in.Close()
	_ = in.SetDeadline(time.Now().Add(patience))
	conn, err := r.dial("udp4", server4+":53", patience)
	require.NoError(t, err)
	raw, err := conn.(*net.UDPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	}))
	require.NoError(t, err)
	data := pattern(8000)
	_, err = conn.Write(data)
	require.NoError(t, err)
	buf := make([]byte, 9000)
	n, _, err := in.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, data, buf[:n])
	eventually(t, func() bool { return r.gateway.Stats().AtoB.Fragmented == 1 })
}

// Close wakes those who read, the gateway ends, and the interface is gone.
func TestKernelClose(t *testing.T) {
	t.Run("gateway", func(t *testing.T) {
		r := newRig(t, Options{Queues: 2}, Options{Queues: 2}, GatewayOptions{})
		require.NoError(t, r.serverTUN.Close())
		require.ErrorIs(t, r.end(), os.ErrClosed)
		require.NoError(t, r.serverTUN.Close(), "again")
		_, err := r.serverTUN.Queues()[0].ReadFrame(make([]byte, FrameSize))
		require.ErrorIs(t, err, os.ErrClosed)
		require.ErrorIs(t, r.serverTUN.Queues()[1].WriteFrame(make([]byte, 100)), os.ErrClosed)
		_, err = r.serverTUN.MTU()
		require.ErrorIs(t, err, os.ErrClosed)
		r.server.do(func() { _, err = net.InterfaceByName(r.serverTUN.Name()) })
		require.Error(t, err)
	})
	t.Run("context", func(t *testing.T) {
		r := newRig(t, Options{}, Options{}, GatewayOptions{})
		r.cancel()
		require.ErrorIs(t, r.end(), context.Canceled)
		// It can start again.
		<-r.stopped
		ctx, cancel := context.WithCancel(context.Background())
		r.cancel = cancel
		go func() { r.stopped <- r.gateway.Run(ctx) }()
		t.Cleanup(func() { cancel(); r.end() })
		r.apply(web())
		go serve(r.listen("tcp4", server4+":443"))
		r.transfer("tcp4", server4+":443", 1000)
	})
	t.Run("deleted", func(t *testing.T) {
		r := newRig(t, Options{}, Options{}, GatewayOptions{})
		r.server.ip("link del " + r.serverTUN.Name())
		require.Error(t, r.end())
	})
	t.Run("many readers", func(t *testing.T) {
		n := newNamespace(t)
		d := n.open(Options{Queues: 3})
		var began atomic.Int32
		failed := make(chan error, 12)
		for i := range 12 {
			go func() {
				q := d.Queues()[i%3]
				began.Add(1)
				for {
					if _, err := q.ReadFrame(make([]byte, FrameSize)); err != nil && !errors.Is(err, ErrInterrupted) {
						failed <- err
						return
					}
				}
			}()
		}
		for began.Load() < 12 {
			d.Queues()[0].Interrupt()
		}
		require.NoError(t, d.Close())
		for range 12 {
			select {
			case err := <-failed:
				require.ErrorIs(t, err, os.ErrClosed)
			case <-time.After(patience):
				t.Fatal("a reader was left behind")
			}
		}
	})
}

// Open: names, persistence, MTU, errors.
func TestKernelOpen(t *testing.T) {
	n := newNamespace(t)
	d := n.open(Options{MTU: 1300})
	require.Equal(t, "tun0", d.Name())
	mtu, err := d.MTU()
	require.NoError(t, err)
	require.Equal(t, 1300, mtu)
	require.NoError(t, d.SetMTU(4000))
	require.Equal(t, 4000, d.Queues()[0].MTU())
	require.Error(t, d.SetMTU(1<<20))
	n.ip("link set " + d.Name() + " mtu 2000")
	require.Equal(t, 4000, d.Queues()[0].MTU())
	_, err = d.MTU()
	require.NoError(t, err)
	require.Equal(t, 2000, d.Queues()[0].MTU())

	n.do(func() { _, err = Open(Options{Name: d.Name()}) })
	var e *Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, syscall.EBUSY)
	require.Equal(t, "tun: open tun0: device or resource busy", err.Error())
	n.do(func() { _, err = Open(Options{Name: "a-name-that-is-too-long"}) })
	require.ErrorAs(t, err, &e)
	require.Equal(t, "tun: open a-name-that-is-too-long: the name is longer than 15 bytes", err.Error())
	n.do(func() { _, err = Open(Options{Queues: 257}) })
	require.ErrorIs(t, err, ErrQueueLimit)
	require.ErrorAs(t, err, &e)
	n.do(func() { _, err = Open(Options{Name: "lo"}) })
	require.ErrorIs(t, err, ErrWrongKind)
	n.do(func() { _, err = Open(Options{Name: "a/b"}) })
	require.ErrorIs(t, err, syscall.EINVAL)
	require.NotErrorIs(t, err, ErrWrongKind)
	n.do(func() { _, err = Open(Options{MTU: 10}) })
	require.ErrorIs(t, err, syscall.EINVAL)

	// Persistent, made for several queues, with other headers than ours.
	n.ip("tuntap add dev keep0 mode tun multi_queue vnet_hdr")
	for range 2 {
		k := n.open(Options{Name: "keep0", Persist: true, Queues: 2})
		require.Equal(t, "keep0", k.Name())
		require.NoError(t, k.Close())
	}
	// With one queue it would be one more of somebody else's.
	n.do(func() { _, err = Open(Options{Name: "keep0"}) })
	require.ErrorIs(t, err, ErrWrongKind)
	require.ErrorIs(t, err, syscall.EINVAL)
	k := n.open(Options{Name: "keep0", NoOffload: true, Queues: 4})
	require.Zero(t, k.Offload())
	require.Len(t, k.Queues(), 4)
	n.do(func() { _, err = Open(Options{Name: "keep0", Queues: 253}) })
	require.ErrorIs(t, err, ErrQueueLimit, "with the four")
	require.ErrorIs(t, err, syscall.E2BIG)
	n.do(func() { _, err = Open(Options{Name: d.Name(), Queues: 2}) })
	require.ErrorIs(t, err, ErrWrongKind)
}

// Filter over a Queue: plain packets in batches, answers both ways.
func TestKernelFilter(t *testing.T) {
	client, server := newNamespace(t), newNamespace(t)
	a, b := client.open(Options{}, clientNet4, clientNet6), server.open(Options{}, serverNet4, serverNet6)
	engine := enforce.NewEngine(enforce.Options{})
	require.NoError(t, engine.Apply(t.Context(), matcher(t, web())))
	f := New(a.Queues()[0], engine.Port("i"), FilterOptions{Answers: Answers{Reject: true}})
	done := make(chan error, 2)
	pump := func(from, to Device) {
		const offset = 16
		bufs, sizes := buffers(from.BatchSize(), offset)
		for {
			n, err := from.Read(bufs, sizes, offset)
			if err != nil {
				done <- err
				return
			}
			out := make([][]byte, n)
			for i := range n {
				out[i] = bufs[i][:offset+sizes[i]]
			}
			if _, err := to.Write(out, offset); gone(err) {
				done <- err
				return
			}
		}
	}
	go pump(f, b.Queues()[0])
	go pump(b.Queues()[0], f)

	r := &rig{t: t, client: client, server: server}
	for _, host := range []string{server4, "[" + server6 + "]"} {
		go serve(r.listen("tcp", host+":443"))
		r.transfer("tcp", host+":443", 2<<20)
		_, err := r.dial("tcp", host+":22", patience)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	}
	// A refused packet that was written is answered at once, although nothing
	// else comes out of the device.
	for _, c := range []string{clientNet4, clientNet6} {
		addr := netip.AddrPortFrom(netip.MustParsePrefix(c).Addr(), 22).String()
		var err error
		server.do(func() { _, err = net.DialTimeout("tcp", addr, patience) })
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	}
	eventually(t, func() bool { return f.Stats().Answers.Sent >= 4 })
	s := f.Stats()
	require.NotZero(t, s.Egress.Passed.Bytes)
	require.NotZero(t, s.Ingress.Passed.Bytes)
	require.NoError(t, f.Close())
	require.NoError(t, b.Close())
	for range 2 {
		require.ErrorIs(t, <-done, os.ErrClosed)
	}
}
