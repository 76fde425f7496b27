package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"example.com/secgroup/bench/tunbench/internal/lab"
)

// load is a sender at the client and a receiver at the server, each on a
// thread with a blocking socket, at full speed.
type load struct {
	kind     int // unix.SOCK_STREAM or unix.SOCK_DGRAM
	received atomic.Uint64
	stop     atomic.Bool
	all      sync.WaitGroup
	fds      []int
}

// small is the data of a small packet, in bytes.
const small = 32

func addr(a string) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: lab.ServerPort, Addr: netip.MustParseAddr(a).As4()}
}

func (l *load) socket(h *host, prepare func(fd int) error) (fd int, err error) {
	err = h.do(func() error {
		if fd, err = unix.Socket(unix.AF_INET, l.kind|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		// Nobody waits for ever when the other side is gone.
		timeout := unix.NsecToTimeval(int64(200 * time.Millisecond))
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout)
		return prepare(fd)
	})
	l.fds = append(l.fds, fd)
	return fd, err
}

// begin starts a load.
func begin(kind int, client, server *host) (*load, error) {
	l := &load{kind: kind}
	in, err := l.socket(server, func(fd int) error {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		if kind == unix.SOCK_DGRAM {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
			return unix.Bind(fd, addr(lab.ServerAddr))
		}
		if err := unix.Bind(fd, addr(lab.ServerAddr)); err != nil {
			return err
		}
		return unix.Listen(fd, 1)
	})
	if err != nil {
		return l, fmt.Errorf("listen: %w", err)
	}
	out, err := l.socket(client, func(fd int) error { return unix.Connect(fd, addr(lab.ServerAddr)) })
	if err != nil {
		return l, fmt.Errorf("connect: %w", err)
	}
	size, messages := small, true
	if kind == unix.SOCK_STREAM {
		size, messages = 256<<10, false
		if in, _, err = unix.Accept4(in, unix.SOCK_CLOEXEC); err != nil {
			return l, fmt.Errorf("accept: %w", err)
		}
		l.fds = append(l.fds, in)
	}
	l.all.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for b := make([]byte, size); !l.stop.Load(); {
			_, _ = unix.Write(out, b) // no room, for a datagram: it is lost
		}
	})
	l.all.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for b := make([]byte, size); !l.stop.Load(); {
			switch n, err := unix.Read(in, b); {
			case err != nil:
			case messages:
				l.received.Add(1)
			default:
				l.received.Add(uint64(n))
			}
		}
	})
	return l, nil
}

func (l *load) end() {
	l.stop.Store(true)
	l.all.Wait()
	for _, fd := range l.fds {
		_ = unix.Close(fd)
	}
}

// measure runs a load through a gateway and returns what arrived per second
// and the CPU time of the gateway per unit.
func measure(kind int, g *gateway, client, server *host, warm, d time.Duration) (perSecond, nsPerUnit float64, err error) {
	l, err := begin(kind, client, server)
	defer l.end()
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(warm)
	cpu, err := g.cpu()
	if err != nil {
		return 0, 0, err
	}
	n, t := l.received.Load(), time.Now()
	time.Sleep(d)
	units, elapsed := float64(l.received.Load()-n), time.Since(t)
	after, err := g.cpu()
	if err != nil {
		return 0, 0, err
	}
	if units == 0 {
		return 0, 0, fmt.Errorf("nothing arrived in %v", elapsed)
	}
	return units / elapsed.Seconds(), float64((after - cpu).Nanoseconds()) / units, nil
}
