package tun

import "sync/atomic"

// Options configure Open. The zero value makes a new interface with one queue
// and every offload that the kernel knows.
type Options struct {
	// Name of the interface, at most 15 bytes; it is created if there is none.
	// A "%d" in it becomes the lowest free number. Default "tun%d".
	Name string

	// Queues that packets are spread over by flow; default 1, at most 256. For
	// more, and for less than none, Open returns ErrQueueLimit. An
	// interface that exists was made for one queue or for several; for the
	// other kind Open returns ErrWrongKind. With 2 or more it joins whoever has
	// the interface open, and gets a part of the flows. With 1 it never does.
	Queues int

	// MTU in bytes, set if not 0. Default: leave it, which is 1500 on a new
	// interface.
	MTU int

	// NoOffload opens the interface without headers of virtio: every packet
	// fits the MTU and has its checksum.
	NoOffload bool

	// Persist keeps the interface, without a queue, after Close.
	Persist bool
}

// TUN is an open TUN interface. It is safe for concurrent use.
//
// The interface is up, has addresses and routes once the caller has seen to
// it; while it is down, writes are lost.
type TUN struct {
	name    string
	queues  []*Queue
	offload Offload
	mtu     atomic.Int64
	control control
}

// control is the part of a TUN that the system does.
type control interface {
	mtu() (int, error)
	setMTU(int) error
	close() error
}

// Open opens or creates a TUN interface in the network namespace of the
// calling thread. It needs the right to (CAP_NET_ADMIN there, or to own the
// interface) and /dev/net/tun; the error says which of the two is missing. The
// file descriptors are closed on exec.
//
// Where the kernel knows no UDP super-packets (before Linux 6.2) it does
// without them, and where it knows no offload at all, without any:
// TUN.Offload tells. It returns an *Error, which wraps ErrNameLength,
// ErrQueueLimit, ErrWrongKind or what the kernel said, and errors.ErrUnsupported on
// systems other than Linux.
func Open(o Options) (*TUN, error) {
	if o.Name == "" {
		o.Name = "tun%d"
	}
	switch {
	case o.Queues < 0:
		return nil, &Error{Op: "open", Name: o.Name, Err: ErrQueueLimit}
	case o.Queues == 0:
		o.Queues = 1
	}
	return open(o)
}

// newTUN puts a TUN together from its queues.
func newTUN(name string, offload Offload, c control, raw []rawQueue) *TUN {
	t := &TUN{name: name, offload: offload, control: c}
	for _, r := range raw {
		t.queues = append(t.queues, &Queue{tun: t, raw: r})
	}
	return t
}

// Name is the name of the interface when it was opened.
func (t *TUN) Name() string { return t.name }

// Offload says what the kernel leaves to this side, and takes from it.
func (t *TUN) Offload() Offload { return t.offload }

// Queues returns the queues, as many as were asked for.
func (t *TUN) Queues() []*Queue { return append([]*Queue(nil), t.queues...) }

// Links returns the queues as an End of a Gateway wants them.
func (t *TUN) Links() []Link {
	out := make([]Link, len(t.queues))
	for i, q := range t.queues {
		out[i] = q
	}
	return out
}

// MTU asks the kernel for the MTU, in bytes. Queues go by what MTU or SetMTU
// saw last: after somebody else changed it, call MTU.
func (t *TUN) MTU() (int, error) {
	n, err := t.control.mtu()
	if err != nil {
		return 0, &Error{Op: "mtu", Name: t.name, Err: err}
	}
	t.mtu.Store(int64(n))
	return n, nil
}

// SetMTU changes the MTU, in bytes.
func (t *TUN) SetMTU(n int) error {
	if err := t.control.setMTU(n); err != nil {
		return &Error{Op: "set mtu", Name: t.name, Err: err}
	}
	t.mtu.Store(int64(n))
	return nil
}

// Close closes every queue, wakes those who wait for one, and returns when
// they are gone. The interface goes with the last queue of all who have it
// open, unless it persists. Closing again does nothing.
func (t *TUN) Close() error {
	var first error
	for _, q := range t.queues {
		if err := q.raw.close(); err != nil && first == nil {
			first = err
		}
	}
	if err := t.control.close(); err != nil && first == nil {
		first = err
	}
	if first != nil {
		return &Error{Op: "close", Name: t.name, Err: first}
	}
	return nil
}
