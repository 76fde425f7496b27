package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"

	"golang.org/x/sys/unix"
)

// socket is a netlink socket to netfilter, of the network namespace of the
// thread that opened it.
type socket struct {
	fd    int
	seq   uint32
	buf   []byte
	limit int // bytes that one send may have
}

// patience is how long the kernel may take for an answer, in seconds: it gives
// one to everything, unless it has no memory for it.
const patience = 60

// wanted is the size of the buffers: where the process may not have it, as the
// root of a container, it gets what net.core.wmem_max allows.
const wanted = 64 << 20

// errChanging means that a dump was no snapshot.
var errChanging = errors.New("the ruleset changes faster than it can be read")

func openSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{fd: fd, buf: make([]byte, 1<<17)}
	if err := s.setup(); err != nil {
		_ = s.close()
		return nil, err
	}
	return s, nil
}

func (s *socket) setup() error {
	if err := unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	for force, polite := range map[int]int{unix.SO_SNDBUFFORCE: unix.SO_SNDBUF, unix.SO_RCVBUFFORCE: unix.SO_RCVBUF} {
		if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, force, wanted) != nil {
			_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, polite, wanted)
		}
	}
	size, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	s.limit = size - 4096
	_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) // errors need not quote the request
	return os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience}))
}

func (s *socket) close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }

func (s *socket) send(b []byte) error {
	for {
		err := unix.Sendto(s.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("sendto", err)
		}
	}
}

// ask sends one request and calls each for every answer, until there are no
// more. What each gets is valid until it returns.
func (s *socket) ask(subsystem, msg int, flags uint16, family byte, attrs []byte, each func(family byte, attrs []byte)) error {
	s.seq++
	typ := uint16(subsystem<<8 | msg)
	b := appendHeader(nil, typ, unix.NLM_F_REQUEST|flags, s.seq, family, 0)
	b = append(b, attrs...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	if err := s.send(b); err != nil {
		return err
	}
	return s.answers(s.seq, each)
}

// answers reads what the kernel says to the request with a number.
func (s *socket) answers(seq uint32, each func(family byte, attrs []byte)) error {
	interrupted := false
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buf, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return os.NewSyscallError("recvfrom", err)
		case n > len(s.buf):
			return fmt.Errorf("an answer of %d bytes", n)
		}
		for b := s.buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < unix.NLMSG_HDRLEN || size > len(b) {
				return errors.New("the kernel's answer is cut off")
			}
			typ, flags, body := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), b[unix.NLMSG_HDRLEN:size]
			mine := binary.NativeEndian.Uint32(b[8:]) == seq
			b = b[min((size+3)&^3, len(b)):]
			if !mine {
				continue // of a request that failed
			}
			interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
			switch {
			case typ == unix.NLMSG_ERROR || typ == unix.NLMSG_DONE:
				if len(body) >= 4 {
					if code := int32(binary.NativeEndian.Uint32(body)); code < 0 {
						return unix.Errno(-code)
					}
				}
				if interrupted {
					return errChanging
				}
				return nil
			case len(body) >= 4:
				if each != nil {
					each(body[0], body[4:])
				}
				if flags&unix.NLM_F_MULTI == 0 {
					return nil
				}
			}
		}
	}
}

// appendHeader begins a message, whose length is to be filled in.
func appendHeader(b []byte, typ, flags uint16, seq uint32, family byte, resource uint16) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(b, 0, 0, 0, 0, family, 0)
	return binary.BigEndian.AppendUint16(b, resource)
}

// transaction is what nf_tables does all of or nothing.
type transaction struct {
	b    []byte
	last int // where the last message begins
	n    int
}

func (t *transaction) add(msg int, flags uint16, attrs ...[]byte) {
	if t.b == nil {
		t.mark(unix.NFNL_MSG_BATCH_BEGIN)
	}
	t.last = len(t.b)
	t.b = appendHeader(t.b, unix.NFNL_SUBSYS_NFTABLES<<8|uint16(msg), unix.NLM_F_REQUEST|flags, 0, unix.NFPROTO_INET, 0)
	for _, a := range attrs {
		t.b = append(t.b, a...)
	}
	binary.NativeEndian.PutUint32(t.b[t.last:], uint32(len(t.b)-t.last))
	t.n++
}

func (t *transaction) mark(typ uint16) {
	at := len(t.b)
	t.b = appendHeader(t.b, typ, unix.NLM_F_REQUEST, 0, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	binary.NativeEndian.PutUint32(t.b[at:], uint32(len(t.b)-at))
}

// commit executes a transaction. The last message asks for an answer; those
// before it are answered if they fail.
func (s *socket) commit(t *transaction) error {
	if t.n == 0 {
		return nil
	}
	last := t.last
	t.mark(unix.NFNL_MSG_BATCH_END)
	s.seq++
	for at := 0; at < len(t.b); at += int(binary.NativeEndian.Uint32(t.b[at:])) {
		binary.NativeEndian.PutUint32(t.b[at+8:], s.seq)
	}
	flags := binary.NativeEndian.Uint16(t.b[last+6:])
	binary.NativeEndian.PutUint16(t.b[last+6:], flags|unix.NLM_F_ACK)
	if err := s.send(t.b); err != nil {
		return err
	}
	return s.answers(s.seq, nil)
}

// attr is a netlink attribute.
func attr(typ int, data []byte) []byte {
	b := binary.NativeEndian.AppendUint16(make([]byte, 0, 4+len(data)+3), uint16(4+len(data)))
	b = binary.NativeEndian.AppendUint16(b, uint16(typ))
	b = append(b, data...)
	return append(b, make([]byte, -len(data)&3)...)
}

func attrText(typ int, s string) []byte { return attr(typ, append([]byte(s), 0)) }

func attrUint32(typ int, v uint32) []byte { return attr(typ, binary.BigEndian.AppendUint32(nil, v)) }

// nest is an attribute made of attributes, of less than 64 KiB together.
func nest(typ int, parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return attr(typ|unix.NLA_F_NESTED, b)
}

// attributes yields netlink attributes without the flags in their types.
func attributes(all []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for b := all; len(b) >= 4; {
			n := int(binary.NativeEndian.Uint16(b))
			if n < 4 || n > len(b) {
				return
			}
			if !yield(int(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)), b[4:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// isTimeout reports whether the kernel did not answer: what it did is unknown.
func isTimeout(err error) bool { return errors.Is(err, unix.EAGAIN) }
