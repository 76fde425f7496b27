package main

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace without a name: it goes with its thread, and
// so with the process at the latest.
type namespace struct{ work chan func() }

func newNamespace() (*namespace, error) {
	ns := &namespace{work: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		made <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range ns.work {
			f()
		}
	}()
	if err := <-made; err != nil {
		close(ns.work)
		return nil, fmt.Errorf("a network namespace: %w (run as root, or in `unshare -Urn`)", err)
	}
	return ns, nil
}

// do runs f in the namespace. Sockets that f opens stay in it.
func (ns *namespace) do(f func() error) error {
	done := make(chan error, 1)
	ns.work <- func() { done <- f() }
	return <-done
}

// ip runs the command ip in the namespace, once per line.
func (ns *namespace) ip(lines ...string) error {
	return ns.do(func() error {
		for _, line := range lines {
			if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", line, err, out)
			}
		}
		return nil
	})
}

func (ns *namespace) close() { close(ns.work) }
