package tun

import (
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// file is a file descriptor that is closed when the last call with it is over,
// so that no call meets another file that got its number.
type file struct {
	fd    int
	state atomic.Int64  // twice the calls in progress, plus 1 when closed
	over  chan struct{} // closed with the descriptor
	err   error         // of close; valid when over
}

func newFile(fd int) *file { return &file{fd: fd, over: make(chan struct{})} }

// acquire begins a call, if the file is open.
func (f *file) acquire() bool {
	if f.state.Add(2)&1 == 0 {
		return true
	}
	f.release()
	return false
}

func (f *file) release() {
	if f.state.Add(-2) == 1 {
		f.finish()
	}
}

// finish closes the descriptor, once: calls that came too late to acquire it
// bring the count back to 1 as well.
func (f *file) finish() {
	const finished = 1 << 62
	if f.state.CompareAndSwap(1, finished|1) {
		f.err = unix.Close(f.fd)
		close(f.over)
	}
}

func (f *file) closed() bool { return f.state.Load()&1 != 0 }

// close makes acquire fail, calls wake for those who wait, and returns when
// the last call is over.
func (f *file) close(wake func()) error {
	f.state.Or(1)
	if wake != nil {
		wake()
	}
	if f.state.Load() == 1 {
		f.finish()
	}
	<-f.over
	return f.err
}

// fdQueue is a queue of a TUN device. It reads and writes without blocking and
// waits, if it must, for the queue and for a bell at once.
//
// The kernel then wakes the thread directly. In an experiment with small
// packets (four runs of 1.5 s each on two busy CPUs) the poller of the Go
// runtime cost about a fifth more CPU time per packet. A descriptor that
// blocks, which could not be closed under its reader, and a goroutine locked
// to its thread made no difference beyond the noise.
type fdQueue struct {
	file *file
	bell *file // an eventfd: interrupted, or closed
	rung atomic.Bool
}

func newFDQueue(fd int) (*fdQueue, error) {
	bell, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &fdQueue{file: newFile(fd), bell: newFile(bell)}, nil
}

func (q *fdQueue) read(b []byte, wait bool) (int, error) {
	if !q.file.acquire() {
		return 0, os.ErrClosed
	}
	defer q.file.release()
	for {
		if wait && q.rung.Load() {
			q.hush()
			return 0, ErrInterrupted
		}
		n, err := unix.Read(q.file.fd, b)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
		default:
			return 0, q.failed("read", err)
		}
		if q.file.closed() {
			return 0, os.ErrClosed
		}
		if !wait {
			return 0, errNone
		}
		if err := q.wait(); err != nil {
			return 0, err
		}
	}
}

// wait returns when there may be something to read, or the bell rings.
func (q *fdQueue) wait() error {
	if !q.bell.acquire() {
		return os.ErrClosed
	}
	defer q.bell.release()
	fds := [...]unix.PollFd{
		{Fd: int32(q.file.fd), Events: unix.POLLIN},
		{Fd: int32(q.bell.fd), Events: unix.POLLIN},
	}
	if _, err := unix.Poll(fds[:], -1); err != nil && err != unix.EINTR {
		return q.failed("poll", err)
	}
	return nil
}

func (q *fdQueue) write(b []byte) error {
	if !q.file.acquire() {
		return os.ErrClosed
	}
	defer q.file.release()
	for {
		switch _, err := unix.Write(q.file.fd, b); err {
		case nil:
			return nil
		case unix.EINTR:
		case unix.EINVAL:
			return errRefused
		case unix.EAGAIN, unix.EIO, unix.ENOMEM, unix.ENOBUFS:
			return err // no room, or the interface is down: this packet is lost
		default:
			return q.failed("write", err)
		}
	}
}

// failed is the error of a system call: that of a closed queue, if it is.
func (q *fdQueue) failed(op string, err error) error {
	if q.file.closed() {
		return os.ErrClosed
	}
	switch err {
	case unix.EBADFD, unix.EFAULT, unix.ENODEV:
		// The interface was deleted. Linux says EBADFD, or EFAULT to those who
		// waited.
		return &Error{Op: op, Err: fmt.Errorf("the interface is gone: %w", os.ErrClosed)}
	}
	return &Error{Op: op, Err: err}
}

func (q *fdQueue) interrupt() {
	if q.rung.CompareAndSwap(false, true) {
		q.ring()
	}
}

func (q *fdQueue) ring() {
	if !q.bell.acquire() {
		return
	}
	defer q.bell.release()
	one := [8]byte{7: 1, 0: 1} // not 0 in either byte order
	_, _ = unix.Write(q.bell.fd, one[:])
}

// hush takes back one interrupt. It silences the bell first: an interrupt that
// comes in between is one with this.
func (q *fdQueue) hush() {
	if !q.bell.acquire() {
		return
	}
	var b [8]byte
	_, _ = unix.Read(q.bell.fd, b[:])
	q.bell.release()
	q.rung.Store(false)
	if q.file.closed() {
		q.ring() // for the others who wait
	}
}

func (q *fdQueue) close() error {
	err := q.file.close(q.ring)
	if bellErr := q.bell.close(nil); err == nil {
		err = bellErr
	}
	return err
}
