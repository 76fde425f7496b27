package netlabtest

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// setnsNumber is the number of the system call, which package syscall lacks
// for the two oldest architectures.
func setnsNumber() (uintptr, error) {
	n, ok := map[string]uintptr{
		"386": 346, "amd64": 308, "arm": 375, "arm64": 268, "loong64": 268, "riscv64": 268,
		"mips": 4344, "mipsle": 4344, "mips64": 5303, "mips64le": 5303,
		"ppc64": 350, "ppc64le": 350, "s390x": 339,
	}[runtime.GOARCH]
	if !ok {
		return 0, fmt.Errorf("netlabtest: setns is unknown on %s", runtime.GOARCH)
	}
	return n, nil
}

func setns(ns *os.File) error {
	n, err := setnsNumber()
	if err != nil {
		return err
	}
	if _, _, errno := syscall.RawSyscall(n, ns.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
		return os.NewSyscallError("setns", errno)
	}
	return nil
}

// ownNamespace opens the network namespace of the calling thread.
func ownNamespace() (*os.File, error) {
	return os.Open("/proc/thread-self/ns/net")
}

// aside runs f on a thread of its own that is in its first namespace again
// afterwards, or ends. A panic of f ends the program, as it should.
func aside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := ownNamespace()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		// runtime.Goexit, which is what t.FailNow is, must not leave the
		// caller waiting.
		err = fmt.Errorf("netlabtest: the function ended its goroutine")
		defer func() {
			if setns(home) == nil {
				runtime.UnlockOSThread() // otherwise the thread ends with this goroutine
			}
			done <- err
		}()
		err = f()
	}()
	return <-done
}

// within runs f on a thread that is in namespace ns.
func within(ns *os.File, f func() error) error {
	return aside(func() error {
		if err := setns(ns); err != nil {
			return err
		}
		return f()
	})
}

// newNamespaces makes n network namespaces. They live as long as the files, and
// what is in them, are open.
func newNamespaces(n int) ([]*os.File, error) {
	var out []*os.File
	err := aside(func() error {
		for range n {
			if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
				return os.NewSyscallError("unshare", err)
			}
			ns, err := ownNamespace()
			if err != nil {
				return err
			}
			out = append(out, ns)
		}
		return nil
	})
	if err != nil {
		for _, ns := range out {
			ns.Close()
		}
		return nil, err
	}
	return out, nil
}
