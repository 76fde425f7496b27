package tun

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A namespace is a network namespace of the test's own, held by a thread that
// does what it is told. It ends with the test.
type namespace struct {
	t    *testing.T
	work chan func()
}

// need skips the test, with the reason, where the system does not let it make
// network namespaces and TUN devices. Root on a machine that is there to test
// (CI=true) must not skip it.
func need(t *testing.T) {
	t.Helper()
	reason := ""
	if _, err := exec.LookPath("ip"); err != nil {
		reason = "needs ip(8) of iproute2"
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		reason = "needs /dev/net/tun: " + err.Error()
	} else {
		_ = unix.Close(fd)
	}
	if reason == "" {
		done := make(chan error)
		go func() { // and its thread, which ends with it, since it stays locked
			runtime.LockOSThread()
			done <- unix.Unshare(unix.CLONE_NEWNET)
		}()
		if err := <-done; err != nil {
			reason = "needs the right to make network namespaces: " + err.Error()
		}
	}
	switch {
	case reason == "":
	case os.Getenv("CI") == "true" && os.Geteuid() == 0 && os.Getenv(nested) == "":
		t.Fatal(reason)
	default:
		t.Skip(reason)
	}
}

// nested is set where TestUserNamespace runs the tests.
const nested = "SECGROUP_TUN_NESTED"

// TestUserNamespace runs the tests that need root as root of a user namespace,
// where the system allows that to somebody who is not root.
func TestUserNamespace(t *testing.T) {
	if os.Geteuid() == 0 {
		return // they run as they are
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKernel", "-test.v")
	cmd.Env = append(os.Environ(), nested+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Skip("needs the right to make user namespaces: ", err)
	}
	t.Logf("%s", out)
	require.NoError(t, err)
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	need(t)
	n := &namespace{t: t, work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread must not serve others
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range n.work {
			f()
		}
	}()
	require.NoError(t, <-ready)
	t.Cleanup(func() { close(n.work) })
	n.ip("link set lo up")
	return n
}

// do runs f on the thread of the namespace. Sockets that f makes stay there.
func (n *namespace) do(f func()) {
	done := make(chan any, 1)
	n.work <- func() {
		defer func() { done <- recover() }()
		f()
	}
	if p := <-done; p != nil {
		panic(p)
	}
}

// ip runs ip(8) in the namespace.
func (n *namespace) ip(args string) {
	n.t.Helper()
	var out []byte
	var err error
	n.do(func() { out, err = exec.Command("ip", strings.Fields(args)...).CombinedOutput() })
	require.NoError(n.t, err, "ip %s: %s", args, out)
}

// open opens a TUN in the namespace, brings it up and gives it addresses.
func (n *namespace) open(o Options, addrs ...string) *TUN {
	n.t.Helper()
	var d *TUN
	var err error
	n.do(func() { d, err = Open(o) })
	require.NoError(n.t, err)
	n.t.Cleanup(func() { _ = d.Close() })
	for _, a := range addrs {
		more := ""
		if strings.Contains(a, ":") {
			more = " nodad"
		}
		n.ip("addr add " + a + " dev " + d.Name() + more)
	}
	n.ip("link set " + d.Name() + " up")
	for _, a := range addrs {
		n.ready(netip.MustParsePrefix(a).Addr())
	}
	return d
}

// ready returns when the host receives at an address of its own: the kernel
// sees to routes of IPv6 in the background.
func (n *namespace) ready(a netip.Addr) {
	n.t.Helper()
	var in net.PacketConn
	var err error
	for range 400 {
		n.do(func() { in, err = net.ListenPacket("udp", netip.AddrPortFrom(a, 0).String()) })
		if err != nil {
			runtime.Gosched()
			continue
		}
		_ = in.SetDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = in.WriteTo([]byte("x"), in.LocalAddr())
		_, _, err = in.ReadFrom(make([]byte, 1))
		_ = in.Close()
		if err == nil {
			return
		}
	}
	n.t.Fatalf("%v does not receive: %v", a, err)
}
