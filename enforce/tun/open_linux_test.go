package tun

import (
	"io/fs"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fakeKernel is a kernel with as many offloads as the test wants.
type fakeKernel struct {
	has      int  // what TUNGETFEATURES says
	bits     int  // offloads that it knows
	multi    bool // made for several queues
	there    bool // the interface exists
	failAt   int  // fails the nth attach
	noHeader error
	noFile   error // of open
	refuses  error // of attach

	next, attached int
	fds            map[int]uint16
	persist        int
}

func (k *fakeKernel) open() (int, error) {
	if k.noFile != nil {
		return -1, k.noFile
	}
	k.next++
	k.fds[k.next] = 0
	return k.next, nil
}

func (k *fakeKernel) features(int) (int, error) { return k.has, nil }

func (k *fakeKernel) attach(fd int, name string, flags uint16) (string, error) {
	k.attached++
	if k.attached == k.failAt {
		return name, unix.EBUSY
	}
	if k.refuses != nil {
		return name, k.refuses
	}
	if k.there && k.multi != (flags&unix.IFF_MULTI_QUEUE != 0) {
		return name, unix.EINVAL
	}
	if len(k.fds) > 256 {
		return name, unix.E2BIG
	}
	k.fds[fd] = flags
	if name == "tun%d" {
		name = "tun3"
	}
	return name, nil
}

func (k *fakeKernel) exists(string) bool { return k.there }

func (k *fakeKernel) setHeader(int) error { return k.noHeader }

func (k *fakeKernel) setOffload(_, bits int) error {
	if bits&^k.bits != 0 {
		return unix.EINVAL
	}
	return nil
}

func (k *fakeKernel) setPersist(_, on int) error {
	k.persist = on
	return nil
}

func (k *fakeKernel) close(fd int) error {
	delete(k.fds, fd)
	return nil
}

// The kernel gets what it can take, and descriptors do not leak.
func TestAttach(t *testing.T) {
	const (
		tso = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
		ecn = tso | unix.TUN_F_TSO_ECN
		all = ecn | unix.TUN_F_USO4 | unix.TUN_F_USO6
		hdr = unix.IFF_VNET_HDR
		tun = unix.IFF_TUN | unix.IFF_NO_PI
		mq  = unix.IFF_MULTI_QUEUE
	)
	for _, c := range []struct {
		name   string
		kernel fakeKernel
		o      Options
		want   Offload
		flags  int
		err    error
	}{
		{"everything", fakeKernel{has: hdr, bits: all}, Options{}, allOffloads, tun | hdr, nil},
		{"before 6.2", fakeKernel{has: hdr, bits: ecn}, Options{}, allOffloads &^ OffloadUSO, tun | hdr, nil},
		{"no ecn", fakeKernel{has: hdr, bits: tso}, Options{}, OffloadChecksum | OffloadTSO, tun | hdr, nil},
		{"no offloads", fakeKernel{has: hdr}, Options{}, 0, tun, nil},
		{"no headers", fakeKernel{bits: all}, Options{}, 0, tun, nil},
		{"headers of another kind", fakeKernel{has: hdr, bits: all, noHeader: unix.EINVAL}, Options{}, 0, tun, nil},
		{"not wanted", fakeKernel{has: hdr, bits: all}, Options{NoOffload: true}, 0, tun, nil},
		{"queues", fakeKernel{has: hdr, bits: all}, Options{Queues: 3}, allOffloads, tun | hdr | mq, nil},
		{"made for queues", fakeKernel{has: hdr, bits: all, there: true, multi: true}, Options{Queues: 2}, allOffloads, tun | hdr | mq, nil},
		{"made for queues, one wanted", fakeKernel{has: hdr, bits: all, there: true, multi: true}, Options{}, 0, 0, ErrWrongKind},
		{"made for one, queues wanted", fakeKernel{has: hdr, bits: all, there: true}, Options{Queues: 2}, 0, 0, ErrWrongKind},
		{"most queues", fakeKernel{has: hdr, bits: all}, Options{Queues: 256}, allOffloads, tun | hdr | mq, nil},
		{"too many queues", fakeKernel{has: hdr, bits: all}, Options{Queues: 257}, 0, 0, ErrQueueLimit},
		{"too many with those of others", fakeKernel{has: hdr, bits: all, fds: map[int]uint16{-1: 0}}, Options{Queues: 256}, 0, 0, ErrQueueLimit},
		{"longest name", fakeKernel{has: hdr, bits: all}, Options{Name: "fifteen-letters"}, allOffloads, tun | hdr, nil},
		{"name too long", fakeKernel{has: hdr, bits: all}, Options{Name: "sixteen-letters-"}, 0, 0, ErrNameLength},
		{"persistent", fakeKernel{has: hdr, bits: all}, Options{Persist: true}, allOffloads, tun | hdr, nil},
		{"busy", fakeKernel{has: hdr, bits: all, failAt: 1}, Options{}, 0, 0, unix.EBUSY},
		{"busy at the second queue", fakeKernel{has: hdr, bits: all, failAt: 2}, Options{Queues: 3}, 0, 0, unix.EBUSY},
		{"no file", fakeKernel{has: hdr, bits: all, noFile: noTUN(unix.ENOENT)}, Options{Queues: 2}, 0, 0, fs.ErrNotExist},
		{"no right", fakeKernel{has: hdr, bits: all, refuses: unix.EPERM}, Options{Queues: 2}, 0, 0, fs.ErrPermission},
		{"busy without offloads", fakeKernel{has: hdr, failAt: 2}, Options{}, 0, 0, unix.EBUSY},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &c.kernel
			others := len(k.fds)
			if others == 0 {
				k.fds = make(map[int]uint16)
			}
			got := "tun3"
			if c.o.Name == "" {
				c.o.Name = "tun%d"
			} else {
				got = c.o.Name
			}
			c.o.Queues = max(1, c.o.Queues)
			fds, name, offload, err := attach(k, c.o)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.want, offload)
			require.Len(t, k.fds, others+len(fds))
			if c.err != nil {
				require.Empty(t, fds)
				return
			}
			require.Equal(t, got, name)
			require.Len(t, fds, c.o.Queues)
			for _, fd := range fds {
				require.EqualValues(t, c.flags, k.fds[fd])
			}
			require.Equal(t, c.o.Persist, k.persist == 1)
		})
	}
}

// What is missing where TUN can not be opened is said.
func TestOpenSaysWhatIsMissing(t *testing.T) {
	require.NoError(t, noTUN(nil))
	for _, c := range []struct {
		kernel fakeKernel
		want   string
	}{
		{fakeKernel{noFile: noTUN(unix.ENOENT)}, "/dev/net/tun: no such file or directory"},
		{fakeKernel{noFile: noTUN(unix.EACCES)}, "/dev/net/tun: permission denied: it takes the right to read and write that file, and CAP_NET_ADMIN"},
		{fakeKernel{refuses: unix.EPERM}, "operation not permitted: it takes CAP_NET_ADMIN in the network namespace, or to own the interface"},
	} {
		c.kernel.fds = map[int]uint16{}
		_, _, _, err := attach(&c.kernel, Options{Name: "tun0", Queues: 1})
		require.EqualError(t, err, c.want)
	}
}

// An ordinary user, and a system without TUN, learn it from Open.
func TestOpenWithout(t *testing.T) {
	fd, err := linux{}.open()
	if err == nil {
		require.NoError(t, linux{}.close(fd))
		_, err = Open(Options{Name: "lo"}) // the file is not to blame
		require.Error(t, err)
		require.NotContains(t, err.Error(), tunFile)
		return
	}
	require.ErrorContains(t, err, tunFile+": ")
	_, err = Open(Options{})
	require.ErrorContains(t, err, "tun: open tun%d: "+tunFile+": ")
}

// Less than no queue is not one queue.
func TestNegativeQueues(t *testing.T) {
	for _, n := range []int{-1, -256, math.MinInt} {
		_, err := Open(Options{Name: "tun0", Queues: n})
		var e *Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, ErrQueueLimit)
		require.Equal(t, "tun: open tun0: an interface has 1 to 256 queues, those of other users included", err.Error())
	}
}
