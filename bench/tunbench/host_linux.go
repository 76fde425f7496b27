package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// host is a network namespace of the program's own, held by a thread that does
// what it is told.
type host struct {
	work chan func()
	file *os.File // the namespace
}

func newHost() (*host, error) {
	h := &host{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			h.file, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		}
		ready <- err
		for f := range h.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("a network namespace (needs root): %w", err)
	}
	return h, h.ip("link set lo up")
}

// do runs f in the namespace.
func (h *host) do(f func() error) error {
	done := make(chan error)
	h.work <- func() { done <- f() }
	return <-done
}

func (h *host) ip(args string) error {
	return h.do(func() error {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
		return nil
	})
}

// address gives the TUN of the namespace, which a gateway opened, an address.
func (h *host) address(dev, addr string) error {
	if err := h.ip("addr add " + addr + "/24 dev " + dev); err != nil {
		return err
	}
	return h.ip("link set " + dev + " up")
}
