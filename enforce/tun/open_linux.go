package tun

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// kernel is what Open asks of Linux; tests put something else in its place.
type kernel interface {
	open() (fd int, err error)
	features(fd int) (flags int, err error)
	attach(fd int, name string, flags uint16) (got string, err error)
	exists(name string) bool
	setHeader(fd int) error
	setOffload(fd int, bits int) error
	setPersist(fd int, on int) error
	close(fd int) error
}

func open(o Options) (*TUN, error) {
	fds, name, offload, err := attach(linux{}, o)
	if err != nil {
		return nil, &Error{Op: "open", Name: o.Name, Err: err}
	}
	var raw []rawQueue
	fail := func(err error) (*TUN, error) {
		for i, fd := range fds {
			if i < len(raw) {
				_ = raw[i].close()
			} else {
				_ = unix.Close(fd)
			}
		}
		return nil, &Error{Op: "open", Name: name, Err: err}
	}
	for _, fd := range fds {
		q, err := newFDQueue(fd)
		if err != nil {
			return fail(err)
		}
		raw = append(raw, q)
	}
	c, err := newSocket(name)
	if err != nil {
		return fail(err)
	}
	t := newTUN(name, offload, c, raw)
	if o.MTU != 0 {
		err = t.SetMTU(o.MTU)
	} else {
		_, err = t.MTU()
	}
	if err != nil {
		_ = c.close()
		return fail(errors.Unwrap(err))
	}
	return t, nil
}

// attach opens the queues: with offloads if it can, else without.
func attach(k kernel, o Options) (fds []int, name string, offload Offload, err error) {
	const maxQueues = 256 // MAX_TAP_QUEUES
	switch {
	case len(o.Name) >= unix.IFNAMSIZ:
		return nil, "", 0, ErrNameLength
	case o.Queues > maxQueues:
		return nil, "", 0, ErrQueueLimit
	}
	if !o.NoOffload {
		fds, name, offload, err = attachWith(k, o, unix.IFF_VNET_HDR)
		if err != nil || offload != 0 {
			return fds, name, offload, err
		}
	}
	return attachWith(k, o, 0)
}

// attachWith opens the queues with that flag. No queues and no error says that
// the kernel has no use for it.
func attachWith(k kernel, o Options, header uint16) (fds []int, name string, offload Offload, err error) {
	name = o.Name
	flags := uint16(unix.IFF_TUN|unix.IFF_NO_PI) | header
	if o.Queues > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	defer func() {
		if err != nil || header != 0 && offload == 0 {
			for _, fd := range fds {
				_ = k.close(fd)
			}
			fds = nil
		}
	}()
	for range o.Queues {
		fd, err := k.open()
		if err != nil {
			return fds, name, 0, err
		}
		fds = append(fds, fd)
		if has, err := k.features(fd); header != 0 && err == nil && has&int(header) == 0 {
			return fds, name, 0, nil
		}
		got, err := k.attach(fd, name, flags)
		switch {
		case errors.Is(err, unix.E2BIG):
			err = fmt.Errorf("%w: %w", ErrQueueLimit, err)
		case errors.Is(err, unix.EPERM):
			err = fmt.Errorf("%w: it takes CAP_NET_ADMIN in the network namespace, or to own the interface", err)
		case errors.Is(err, unix.EINVAL) && k.exists(name):
			// To try the other kind would join whoever serves the interface,
			// and take a part of its flows away.
			err = fmt.Errorf("%w: %w", ErrWrongKind, err)
		}
		if err != nil {
			return fds, name, 0, err
		}
		name = got
	}
	if header != 0 {
		if k.setHeader(fds[0]) == nil {
			offload = negotiate(func(bits int) error { return k.setOffload(fds[0], bits) })
		}
		if offload == 0 {
			return fds, name, 0, nil
		}
	}
	if o.Persist {
		err = k.setPersist(fds[0], 1)
	}
	return fds, name, offload, err
}

// negotiate asks for ever fewer offloads until the kernel agrees.
func negotiate(set func(bits int) error) Offload {
	const (
		tso = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
		ecn = tso | unix.TUN_F_TSO_ECN
		uso = ecn | unix.TUN_F_USO4 | unix.TUN_F_USO6 // Linux 6.2
	)
	for _, try := range []struct {
		bits int
		got  Offload
	}{
		{uso, OffloadChecksum | OffloadTSO | OffloadECN | OffloadUSO},
		{ecn, OffloadChecksum | OffloadTSO | OffloadECN},
		{tso, OffloadChecksum | OffloadTSO},
	} {
		if set(try.bits) == nil {
			return try.got
		}
	}
	return 0
}

// tunFile is where Linux has TUN (Documentation/networking/tuntap.rst).
const tunFile = "/dev/net/tun"

// linux is the kernel.
type linux struct{}

func (linux) open() (int, error) {
	fd, err := unix.Open(tunFile, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	return fd, noTUN(err)
}

// noTUN says what is missing where tunFile can not be opened.
func noTUN(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EACCES):
		err = fmt.Errorf("%w: it takes the right to read and write that file, and CAP_NET_ADMIN", err)
	}
	return fmt.Errorf("%s: %w", tunFile, err)
}

func (linux) features(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.TUNGETFEATURES) }

func (linux) attach(fd int, name string, flags uint16) (string, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return name, err
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return name, err
	}
	return strings.Clone(req.Name()), nil
}

func (linux) exists(name string) bool {
	s, err := newSocket(name)
	if err != nil {
		return false
	}
	defer s.close()
	_, err = s.mtu()
	return err == nil
}

// setHeader undoes what a former user of a persistent interface may have set:
// another length of the header, or another byte order than the machine's.
func (linux) setHeader(fd int) error {
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, HeaderLen); err != nil {
		return err
	}
	_ = unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 0) // fails before Linux 4.1, where nobody could set it
	return nil
}

func (linux) setOffload(fd, bits int) error { return unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, bits) }
func (linux) setPersist(fd, on int) error   { return unix.IoctlSetInt(fd, unix.TUNSETPERSIST, on) }
func (linux) close(fd int) error            { return unix.Close(fd) }

// socket asks about the interface in the namespace it was opened in, whatever
// thread asks.
type socket struct {
	name string
	file *file
}

func newSocket(name string) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &socket{name: name, file: newFile(fd)}, nil
}

func (s *socket) close() error { return s.file.close(nil) }

func (s *socket) do(request uint, req *unix.Ifreq) error {
	if !s.file.acquire() {
		return os.ErrClosed
	}
	defer s.file.release()
	return unix.IoctlIfreq(s.file.fd, request, req)
}

func (s *socket) mtu() (int, error) {
	req, err := unix.NewIfreq(s.name)
	if err != nil {
		return 0, err
	}
	if err := s.do(unix.SIOCGIFMTU, req); err != nil {
		return 0, err
	}
	return int(req.Uint32()), nil
}

func (s *socket) setMTU(n int) error {
	req, err := unix.NewIfreq(s.name)
	if err != nil {
		return err
	}
	if n < 0 || n > maxIP {
		return unix.EINVAL
	}
	req.SetUint32(uint32(n))
	return s.do(unix.SIOCSIFMTU, req)
}
