package netlabtest

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Conntrack returns the connections that the router tracks, one line each as in
// /proc/net/nf_conntrack. Not every kernel has that file.
func (l *Lab) Conntrack() ([]string, error) {
	var out []string
	err := l.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/nf_conntrack")
		for line := range strings.Lines(string(text)) {
			out = append(out, strings.TrimSpace(line))
		}
		return err
	})
	return out, err
}

// FlushConntrack makes the router forget all connections.
func (l *Lab) FlushConntrack() error {
	return l.Do(func() error {
		const (
			ctnetlink = 1 // NFNL_SUBSYS_CTNETLINK
			del       = 2 // IPCTNL_MSG_CT_DELETE
			length    = syscall.NLMSG_HDRLEN + 4
		)
		fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_NETFILTER)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer syscall.Close(fd)
		m := make([]byte, length) // the rest of the header and the nfgenmsg are zero
		binary.NativeEndian.PutUint32(m, length)
		binary.NativeEndian.PutUint16(m[4:], ctnetlink<<8|del)
		binary.NativeEndian.PutUint16(m[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_ACK)
		if err := syscall.Sendto(fd, m, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		answer := make([]byte, 4096)
		n, _, err := syscall.Recvfrom(fd, answer, 0)
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if n < syscall.NLMSG_HDRLEN+4 {
			return fmt.Errorf("netlabtest: flush of connections: answer of %d bytes", n)
		}
		if code := int32(binary.NativeEndian.Uint32(answer[syscall.NLMSG_HDRLEN:])); code != 0 {
			return fmt.Errorf("netlabtest: flush of connections: %w", syscall.Errno(-code))
		}
		return nil
	})
}
