package netlabtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	// A packet joins the backlog when it is injected and again when the router
	// sends it on: two passes. One more leaves room for what the router sends
	// to itself.
	passes = 3
	// markerType is a local experimental EtherType, which no kernel handles.
	markerType = 0x88b5
	// patience is how long a marker may take. It never does: one that is lost
	// is a fault of the lab, and an error.
	patience = 20 * time.Second

	headerLength = 14
	maxFrame     = headerLength + 1<<16

	ethPAll              = 3
	solPacket            = 263
	packetStatistics     = 6
	packetIgnoreOutgoing = 23
)

// end is the far end of a wire.
type end struct {
	device string
	out    syscall.SockaddrLinklayer
	header [12]byte // addresses of a frame that the workload sends
}

// injector sends and observes on all wires.
type injector struct {
	ends    map[string]*end
	byIndex map[int]*end

	tx, rx  int      // packet sockets of the peer namespace
	own     [2]int   // raw sockets of the host namespace: IPv4, IPv6
	softnet *os.File // counters of packets that a full backlog lost

	marker   syscall.SockaddrLinklayer
	markerIn int
	count    uint64 // of markers sent

	frame, buf []byte

	mu sync.Mutex // one exchange at a time
}

// newInjector opens the sockets in the namespace of the calling thread.
func newInjector(wires []wire, indexes map[string]int) (*injector, error) {
	in := &injector{
		ends: make(map[string]*end), byIndex: make(map[int]*end),
		tx: -1, rx: -1, own: [2]int{-1, -1},
		marker:   syscall.SockaddrLinklayer{Protocol: network(markerType), Ifindex: indexes[markerOut]},
		markerIn: indexes[markerIn],
		frame:    make([]byte, maxFrame), buf: make([]byte, maxFrame),
	}
	for _, w := range wires {
		e := &end{device: w.device, out: syscall.SockaddrLinklayer{Ifindex: indexes[w.device]}}
		copy(e.header[:6], w.near)
		copy(e.header[6:], w.far)
		in.ends[w.device], in.byIndex[indexes[w.device]] = e, e
	}
	if err := in.open(); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// network is n in network byte order, as a number of the host.
func network(n uint16) uint16 {
	return binary.NativeEndian.Uint16([]byte{byte(n >> 8), byte(n)})
}

func (in *injector) open() error {
	const flags = syscall.SOCK_RAW | syscall.SOCK_CLOEXEC
	var err error
	if in.tx, err = syscall.Socket(syscall.AF_PACKET, flags, 0); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if in.rx, err = syscall.Socket(syscall.AF_PACKET, flags, int(network(ethPAll))); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := syscall.SetsockoptInt(in.rx, solPacket, packetIgnoreOutgoing, 1); err != nil && err != syscall.ENOPROTOOPT {
		return os.NewSyscallError("setsockopt", err)
	}
	const room = 64 << 20
	if syscall.SetsockoptInt(in.rx, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, room) != nil {
		if err := syscall.SetsockoptInt(in.rx, syscall.SOL_SOCKET, syscall.SO_RCVBUF, room); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	// Of this thread's namespace: /proc/net is that of the first thread, which
	// may be another lab's, and then ends with it.
	in.softnet, err = os.Open("/proc/thread-self/net/softnet_stat")
	return err
}

// awaitWires returns when the near ends of all wires can send: the kernel
// discards what they send until its link watch, a work queue, has seen that they
// are connected. It runs in the host namespace, before there are rules that
// could stop its probes.
func (in *injector) awaitWires() error {
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)
	// A probe that was discarded is sent again when none has come for so long.
	const again = time.Millisecond
	if err := in.receiveTimeout(again); err != nil {
		return err
	}
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range all {
		e := in.ends[i.Name]
		if e == nil {
			continue
		}
		probe := make([]byte, headerLength)
		binary.BigEndian.PutUint16(probe[12:], markerType)
		to := &syscall.SockaddrLinklayer{Protocol: network(markerType), Ifindex: i.Index}
		for up, tries := false, 0; !up; tries++ {
			if tries > int(patience/again) {
				return fmt.Errorf("netlabtest: device %s does not come up", i.Name)
			}
			if err := syscall.Sendto(fd, probe, 0, to); err != nil && err != syscall.ENOBUFS {
				return os.NewSyscallError("sendto", err)
			}
			_, from, err := in.receive()
			if err != nil && err != errNothing {
				return err
			}
			up = err == nil && from.Ifindex == e.out.Ifindex
		}
	}
	return in.receiveTimeout(patience)
}

func (in *injector) receiveTimeout(d time.Duration) error {
	wait := syscall.NsecToTimeval(int64(d))
	return os.NewSyscallError("setsockopt", syscall.SetsockoptTimeval(in.rx, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &wait))
}

func (in *injector) close() {
	for _, fd := range []int{in.tx, in.rx, in.own[0], in.own[1]} {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
	if in.softnet != nil {
		in.softnet.Close()
	}
}

// pinned runs f on a thread that stays on the CPU where it is.
func pinned(f func(cpu int) error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := affinity()
	if err != nil {
		return err
	}
	cpu, err := currentCPU()
	if err != nil {
		return err
	}
	var one cpuSet
	one[cpu/strconv.IntSize] = 1 << (cpu % strconv.IntSize)
	if err := one.apply(); err != nil {
		return err
	}
	return errors.Join(f(cpu), before.apply())
}

// currentCPU is where the calling thread runs.
func currentCPU() (int, error) {
	// Package syscall lacks the number for the oldest architecture.
	n, ok := map[string]uintptr{
		"386": 318, "amd64": 309, "arm": 345, "arm64": 168, "loong64": 168, "riscv64": 168,
		"mips": 4312, "mipsle": 4312, "mips64": 5271, "mips64le": 5271,
		"ppc64": 302, "ppc64le": 302, "s390x": 311,
	}[runtime.GOARCH]
	if !ok {
		return 0, fmt.Errorf("netlabtest: getcpu is unknown on %s", runtime.GOARCH)
	}
	var cpu uint32
	if _, _, errno := syscall.RawSyscall(n, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		return 0, os.NewSyscallError("getcpu", errno)
	}
	if cpu >= maxCPUs {
		return 0, fmt.Errorf("netlabtest: CPU %d is beyond count", cpu)
	}
	return int(cpu), nil
}

// cpuSet is the kernel's bit mask of CPUs, which is made of machine words.
type cpuSet [maxCPUs / strconv.IntSize]uintptr

const maxCPUs = 8192

func affinity() (cpuSet, error) {
	var s cpuSet
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(s), uintptr(unsafe.Pointer(&s)))
	if errno != 0 {
		return s, os.NewSyscallError("sched_getaffinity", errno)
	}
	return s, nil
}

func (s *cpuSet) apply() error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(*s), uintptr(unsafe.Pointer(s)))
	if errno != 0 {
		return os.NewSyscallError("sched_setaffinity", errno)
	}
	return nil
}

// exchange runs steps.
func (in *injector) exchange(steps []Step, capture bool) (*Report, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	e := exchange{injector: in, steps: steps, capture: capture, report: &Report{Arrived: make([]bool, len(steps))}}
	if err := pinned(e.run); err != nil {
		return nil, err
	}
	return e.report, nil
}

// exchange is one sequence under way.
type exchange struct {
	*injector
	steps   []Step
	now     int   // the step under way
	held    []int // fragments before it that have not come out
	capture bool
	report  *Report
}

func (e *exchange) run(cpu int) error {
	lost, err := e.lost(cpu)
	if err != nil {
		return err
	}
	if err := e.drain(); err != nil {
		return err
	}
	for e.now = range e.steps {
		if err := e.step(&e.steps[e.now]); err != nil {
			return fmt.Errorf("netlabtest: step %d: %w", e.now, err)
		}
	}
	after, err := e.lost(cpu)
	if err != nil {
		return err
	}
	if after != lost {
		return fmt.Errorf("netlabtest: CPU %d lost %d packets: too much traffic beside the lab's", cpu, after-lost)
	}
	// The two words of tpacket_stats: received and dropped since last asked.
	stats, err := syscall.GetsockoptIPMreq(e.rx, solPacket, packetStatistics)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if n := binary.NativeEndian.Uint32(stats.Interface[:]); n != 0 {
		return fmt.Errorf("netlabtest: %d packets came out unobserved", n)
	}
	return nil
}

func (e *exchange) step(s *Step) error {
	if s.From == Host {
		if err := e.fromHost(s.Packet); err != nil {
			return err
		}
		return e.sync()
	}
	from := e.ends[s.From]
	kind := s.EtherType
	if kind == 0 {
		kind = etherType(s.Packet)
	}
	copy(e.frame, from.header[:])
	binary.BigEndian.PutUint16(e.frame[12:], kind)
	if len(s.Packet) > maxFrame-headerLength {
		return syscall.EMSGSIZE
	}
	n := copy(e.frame[headerLength:], s.Packet)
	from.out.Protocol = network(kind)
	if err := syscall.Sendto(e.tx, e.frame[:headerLength+n], 0, &from.out); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	if err := e.sync(); err != nil {
		return err
	}
	if !e.report.Arrived[e.now] && !s.Prompt && isFragment(s.Packet) {
		e.held = append(e.held, e.now)
	}
	return nil
}

// sync returns when all that the packets sent so far lead to has been observed.
func (e *exchange) sync() error {
	for range passes {
		e.count++
		var m [headerLength + 8]byte
		binary.BigEndian.PutUint16(m[12:], markerType)
		binary.BigEndian.PutUint64(m[headerLength:], e.count)
		if err := syscall.Sendto(e.tx, m[:], 0, &e.marker); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		for {
			n, from, err := e.receive()
			if err != nil {
				return err
			}
			frame := e.buf[:n]
			if from.Ifindex == e.markerIn {
				if bytes.Equal(frame, m[:]) {
					break
				}
				continue
			}
			if end := e.byIndex[from.Ifindex]; end != nil && n >= headerLength && from.Pkttype != syscall.PACKET_OUTGOING {
				e.arrival(end.device, frame[headerLength:])
			}
		}
	}
	return nil
}

// drain drops what came out since the last exchange: timers' work, which is no
// step's.
func (e *exchange) drain() error {
	for {
		switch _, _, err := syscall.Recvfrom(e.rx, e.buf, syscall.MSG_DONTWAIT); err {
		case nil, syscall.EINTR, syscall.ENETDOWN:
		case syscall.EAGAIN:
			return nil
		default:
			return os.NewSyscallError("recvfrom", err)
		}
	}
}

// errNothing says that nothing came in time.
var errNothing = errors.New("netlabtest: a marker is lost")

// receive takes the next frame into in.buf.
func (in *injector) receive() (int, *syscall.SockaddrLinklayer, error) {
	for {
		n, from, err := syscall.Recvfrom(in.rx, in.buf, 0)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, nil, errNothing
		case err == syscall.ENETDOWN:
			// Somebody sets a device down: no packet.
		case err != nil:
			return 0, nil, os.NewSyscallError("recvfrom", err)
		default:
			return n, from.(*syscall.SockaddrLinklayer), nil
		}
	}
}

// arrival is told of each packet that the router sent.
func (e *exchange) arrival(device string, packet []byte) {
	forwarded := e.match(device, packet)
	if forwarded >= 0 {
		e.report.Arrived[forwarded] = true
	}
	if e.capture {
		e.report.Outputs = append(e.report.Outputs, Output{
			Step: e.now, Device: device, Packet: bytes.Clone(packet), Forwarded: forwarded,
		})
	}
}

// match returns the step whose packet came out: the one under way, or a fragment
// held back before; -1 if none.
func (e *exchange) match(device string, packet []byte) int {
	if e.is(e.now, device, packet) {
		return e.now
	}
	for i, n := range e.held {
		if e.is(n, device, packet) {
			e.held = append(e.held[:i], e.held[i+1:]...)
			return n
		}
	}
	return -1
}

func (e *exchange) is(step int, device string, packet []byte) bool {
	s := &e.steps[step]
	switch {
	case e.report.Arrived[step] || s.To != "" && s.To != device:
		return false
	case s.Same != nil:
		return s.Same(packet)
	}
	return same(packet, s.Packet)
}

// lost is how many packets a CPU's backlog has lost, all traffic counted.
func (in *injector) lost(cpu int) (uint64, error) {
	n, err := in.softnet.ReadAt(in.buf, 0)
	if n == 0 {
		return 0, fmt.Errorf("netlabtest: softnet_stat: %w", err)
	}
	line := 0
	for row := range bytes.Lines(in.buf[:n]) {
		fields := bytes.Fields(row)
		id := uint64(line) // rows of old kernels do not say whose they are
		if len(fields) > 12 {
			if id, err = strconv.ParseUint(string(fields[12]), 16, 32); err != nil {
				return 0, err
			}
		}
		if id == uint64(cpu) && len(fields) > 1 {
			return strconv.ParseUint(string(fields[1]), 16, 64)
		}
		line++
	}
	return 0, fmt.Errorf("netlabtest: softnet_stat lacks CPU %d", cpu)
}
