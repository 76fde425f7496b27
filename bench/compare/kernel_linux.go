package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// netns is a network namespace of the program's own, held by a thread that
// does what it is told. It ends with the thread.
type netns struct {
	work chan func()
	tid  int
}

func newNetns() (*netns, error) {
	h := &netns{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
		h.tid = unix.Gettid()
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range h.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("a network namespace: %w", err)
	}
	return h, nil
}

func (h *netns) close() { close(h.work) }

// do runs f in the namespace.
func (h *netns) do(f func() error) error {
	done := make(chan error)
	h.work <- func() { done <- f() }
	return <-done
}

// command runs a program in the namespace with that input and returns what it
// prints.
func (h *netns) command(input string, args ...string) (out string, err error) {
	err = h.do(func() error {
		c := exec.Command(args[0], args[1:]...)
		c.Stdin = strings.NewReader(input)
		b, err := c.CombinedOutput()
		if err != nil {
			b = bytes.TrimSpace(b)
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, b[:min(len(b), 400)])
		}
		out = string(b)
		return nil
	})
	return out, err
}

// wire leads from a namespace that sends to one that receives, and drops all
// that arrives sooner or later.
type wire struct {
	from, to *netns
	fd       int
	frame    []byte // room for a packet behind its Ethernet header
}

// newWire makes two namespaces with a veth between them. The receiver has the
// addresses of w, and the ruleset.
func newWire(w *world, ruleset string) (*wire, error) {
	p := &wire{fd: -1}
	var err error
	if p.from, err = newNetns(); err != nil {
		return nil, err
	}
	if p.to, err = newNetns(); err != nil {
		p.close()
		return nil, err
	}
	if err := p.setup(w, ruleset); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *wire) setup(w *world, ruleset string) error {
	ip := func(h *netns, args string) error {
		_, err := h.command("", append([]string{"ip"}, strings.Fields(args)...)...)
		return err
	}
	// The sender's own IPv6 would say something unasked.
	if err := p.from.do(func() error {
		return os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	}); err != nil {
		return err
	}
	if err := ip(p.from, fmt.Sprintf("link add s0 type veth peer name r0 netns %d", p.to.tid)); err != nil {
		return err
	}
	if err := ip(p.from, "link set s0 up"); err != nil {
		return err
	}
	for _, args := range []string{"link set lo up", "link set r0 up", "route add default dev r0", "-6 route add default dev r0"} {
		if err := ip(p.to, args); err != nil {
			return err
		}
	}
	for _, a := range w.local {
		args := fmt.Sprintf("addr add %v/%d dev r0", a, a.BitLen())
		if a.Is6() {
			args += " nodad"
		}
		if err := ip(p.to, args); err != nil {
			return err
		}
	}
	if _, err := p.to.command(ruleset, "nft", "-f", "-"); err != nil {
		return err
	}
	return p.open()
}

// open makes the socket that sends, and the Ethernet header.
func (p *wire) open() error {
	var source, target net.HardwareAddr
	mac := func(to *net.HardwareAddr, name string) func() error {
		return func() error {
			i, err := net.InterfaceByName(name)
			if err == nil {
				*to = i.HardwareAddr
			}
			return err
		}
	}
	if err := p.to.do(mac(&target, "r0")); err != nil {
		return err
	}
	if err := p.from.do(mac(&source, "s0")); err != nil {
		return err
	}
	p.frame = append(append(append(p.frame, target...), source...), 0, 0)
	return p.from.do(func() error {
		i, err := net.InterfaceByName("s0")
		if err != nil {
			return err
		}
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
			return err
		}
		return unix.Bind(p.fd, &unix.SockaddrLinklayer{Ifindex: i.Index})
	})
}

const etherHeader = 14

// send sends packets. Each is handled by the receiver, until it is dropped,
// before the call that sends it returns: veth hands it over in the softirq that
// the sender's CPU runs at once.
func (p *wire) send(packets [][]byte) error {
	for _, b := range packets {
		f := append(p.frame[:etherHeader], b...)
		f[12], f[13] = 0x08, 0x00
		if b[0]>>4 == 6 {
			f[12], f[13] = 0x86, 0xdd
		}
		if _, err := unix.Write(p.fd, f); err != nil {
			return err
		}
		p.frame = f
	}
	return nil
}

var countPattern = regexp.MustCompile(`packets (\d+)`)

// count returns what a counter of the receiver counts.
func (p *wire) count(name string) (int, error) {
	out, err := p.to.command("", "nft", "list", "counter", "inet", "t", name)
	if err != nil {
		return 0, err
	}
	m := countPattern.FindStringSubmatch(out)
	if m == nil {
		return 0, errors.New("nft lists no counter: " + out)
	}
	return strconv.Atoi(m[1])
}

// counts waits until a counter has n more than before, and not more: the other
// CPU may have had a part in it.
func (p *wire) counts(name string, before, n int) error {
	got := 0
	for end := time.Now().Add(2 * time.Second); ; {
		now, err := p.count(name)
		if err != nil {
			return err
		}
		if got = now - before; got >= n || time.Now().After(end) {
			break
		}
	}
	if got != n {
		return fmt.Errorf("the counter %q counted %d of %d packets", name, got, n)
	}
	return nil
}

func (p *wire) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd) // nothing is written any more
	}
	for _, h := range []*netns{p.from, p.to} {
		if h != nil {
			h.close()
		}
	}
}
