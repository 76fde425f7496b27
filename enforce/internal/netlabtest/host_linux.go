package netlabtest

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
)

// openHost opens the sockets by which the router sends of its own accord, in
// the namespace of the calling thread.
func (in *injector) openHost() error {
	for i, family := range []int{syscall.AF_INET, syscall.AF_INET6} {
		fd, err := syscall.Socket(family, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.IPPROTO_RAW)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		in.own[i] = fd
	}
	return nil
}

// fromHost has the router send a packet. That it is refused is no error.
func (e *exchange) fromHost(packet []byte) error {
	var err error
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		if binary.BigEndian.Uint16(packet[4:]) == 0 {
			return errors.New("a packet of the host without identification")
		}
		err = syscall.Sendto(e.own[0], packet, 0, &syscall.SockaddrInet4{Addr: [4]byte(packet[16:20])})
	case len(packet) >= 40 && packet[0]>>4 == 6:
		err = syscall.Sendto(e.own[1], packet, 0, &syscall.SockaddrInet6{Addr: [16]byte(packet[24:40])})
	default:
		return errors.New("a packet of the host is neither IPv4 nor IPv6")
	}
	if err == syscall.EPERM { // what nf_hook_slow returns for a drop
		return nil
	}
	return os.NewSyscallError("sendto", err)
}
