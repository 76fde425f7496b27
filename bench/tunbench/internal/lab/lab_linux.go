package lab

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// In runs f on a thread in the network namespace behind fd.
func In(fd int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// CPU is the time that the process has used, in user and kernel mode. What the
// kernel does for it in a write, up to the receiving socket, is part of it.
func CPU() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
