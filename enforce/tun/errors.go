package tun

import (
	"errors"
	"os"
	"syscall"
)

// Errors of this package. A closed device is os.ErrClosed, and a system
// without TUN devices errors.ErrUnsupported.
var (
	ErrInterrupted = errors.New("interrupted")                                                       // by Interrupt: nothing is wrong
	ErrRunning     = errors.New("the gateway runs already")                                          // by another Run
	ErrQueues      = errors.New("both ends need the same number of links, at least 1, and none nil") // of NewGateway

	// Of Open.
	ErrNameLength = errors.New("the name is longer than 15 bytes")
	ErrQueueLimit = errors.New("an interface has 1 to 256 queues, those of other users included")
	ErrWrongKind  = errors.New("there is an interface of that name that is no TUN, or made for one queue where several are asked for, or the other way round")
)

// wokenError is an interrupt that Queue.wake asked for.
type wokenError struct{}

func (wokenError) Error() string { return "interrupted for an answer" }
func (wokenError) Unwrap() error { return ErrInterrupted }

// Error says what could not be done to which interface. It wraps its cause,
// most often a syscall.Errno.
type Error struct {
	Op   string // "open", "mtu", "read" …
	Name string // of the interface; may be empty
	Err  error
}

// Error is "tun: open tun0: device or resource busy".
func (e *Error) Error() string {
	if e.Name == "" {
		return "tun: " + e.Op + ": " + e.Err.Error()
	}
	return "tun: " + e.Op + " " + e.Name + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// errRefused says that a device can not take what a frame asks for.
const errRefused = syscall.EINVAL

// refused reports a frame that a device will not take as it is.
func refused(err error) bool { return errors.Is(err, errRefused) }

// failuresInARow is how many reads may fail before that is taken for the end.
// The kernel fails a read, and drops the packet, if it can not say in a header
// what is in it (EINVAL).
const failuresInARow = 16

// gone reports an error after which there is nothing more to read or write.
func gone(err error) bool { return errors.Is(err, os.ErrClosed) }
