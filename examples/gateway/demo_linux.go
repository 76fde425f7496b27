package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/tun"
	"example.com/secgroup/examples/internal/policyfile"
	"example.com/secgroup/sg/policy"
)

//go:embed testdata/demo.json
var demoPolicy []byte

// Addresses of the demo: a workload behind an interface of the policy, and a
// host elsewhere (RFC 5737).
const (
	workload = "10.0.0.5"
	remote   = "192.0.2.7"
)

// patience bounds every exchange of the demo.
const patience = 10 * time.Second

// demo builds two namespaces with a TUN each, connects them with a gateway,
// and shows what becomes of traffic between them before and after a change of
// the policy file.
func demo(ctx context.Context, w io.Writer) error {
	dir, err := os.MkdirTemp("", "gateway")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(path, demoPolicy, 0o600); err != nil {
		return err
	}

	log := newFlowLog(w)
	printed := make(chan enforce.Event, cap(log.lines))
	log.printed = func(e *enforce.Event) {
		select {
		case printed <- *e:
		default: // must not block
		}
	}
	engine := enforce.NewEngine(enforce.Options{OnEvent: log.event})
	file := &policyfile.File{Path: path, Apply: func(ctx context.Context, _ *policy.Snapshot, m *compile.Matcher) error { return engine.Apply(ctx, m) }}
	if err := file.Load(ctx); err != nil {
		return err
	}
	inside, devA, err := demoSide("inside", workload)
	if err != nil {
		return err
	}
	defer inside.close()
	defer devA.Close()
	outside, devB, err := demoSide("outside", remote)
	if err != nil {
		return err
	}
	defer outside.close()
	defer devB.Close()
	gateway, err := tun.NewGateway(
		tun.End{Links: devA.Links(), Port: engine.Port("web-1")},
		tun.End{Links: devB.Links()},
		tun.GatewayOptions{Answers: tun.Answers{Reject: true}})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, engine.Run, gateway.Run, log.run, func(ctx context.Context) error { return file.Watch(ctx, w, "gateway") })
	}()
	err = demoTraffic(ctx, w, inside, outside, gateway, path, printed)
	stop()
	if e := <-served; err == nil && !errors.Is(e, context.Canceled) {
		err = e
	}
	return err
}

// demoSide makes a namespace whose only way out is a TUN.
func demoSide(name, address string) (*namespace, *tun.TUN, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, nil, err
	}
	var dev *tun.TUN
	err = ns.do(func() (err error) {
		dev, err = tun.Open(tun.Options{Name: name})
		return err
	})
	if err == nil {
		err = ns.ip("link set lo up", "link set "+name+" addrgenmode none", "address add "+address+"/32 dev "+name, "link set "+name+" up", "route add default dev "+name)
	}
	if err != nil {
		ns.close()
		return nil, nil, err
	}
	return ns, dev, nil
}

func demoTraffic(ctx context.Context, w io.Writer, inside, outside *namespace, gateway *tun.Gateway, path string, printed <-chan enforce.Event) error {
	for ns, ports := range map[*namespace][]int{inside: {443, 8080}, outside: {443, 25}} {
		for _, port := range ports {
			if err := echo(ns, port); err != nil {
				return err
			}
		}
	}
	say := func(format string, args ...any) { fmt.Fprintf(w, "\n"+format+"\n", args...) }
	say("policy: sg-web lets tcp 443 in from anywhere, and tcp 443 out")
	conn, err := talk(ctx, w, outside, workload, 443, printed)
	if err != nil {
		return err
	}
	if conn == nil {
		return errors.New("the connection that the policy allows was not answered")
	}
	defer conn.Close()
	for _, c := range []struct {
		ns   *namespace
		to   string
		port int
	}{{outside, workload, 8080}, {inside, remote, 443}, {inside, remote, 25}} {
		conn, err := talk(ctx, w, c.ns, c.to, c.port, printed)
		if err != nil {
			return err
		}
		if conn != nil {
			conn.Close()
		}
	}

	say("64 MiB through the connection that is open")
	start := time.Now()
	if err := pour(conn, 64<<20, patience); err != nil {
		return err
	}
	took := time.Since(start)
	s := gateway.Stats().BtoA
	fmt.Fprintf(w, "  %.1f Gbit/s there and back; %d packets in, %d of them super-packets, forwarded whole\n",
		2*8*float64(64<<20)/took.Seconds()/1e9, s.In.Packets, s.Super.Packets)

	say("the policy file changes: the rule for tcp 443 in is gone")
	changed := bytes.Replace(demoPolicy, []byte(`"id": "https", "protocol": "tcp", "port_range": "443"`), []byte(`"id": "https", "protocol": "tcp", "port_range": "8443"`), 1)
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		return err
	}
	// The connection that is open lives until the file has been read again. It
	// ends with a reset if its opener speaks first after that, else in silence:
	// an answer to a connection that is no more is not answered.
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; {
		if err := pour(conn, 1, 2*time.Second); err != nil {
			local := conn.LocalAddr().(*net.TCPAddr).AddrPort().Port()
			if err := await(ctx, printed, func(e *enforce.Event) bool {
				return e.Kind == enforce.FlowDenied && (e.Tuple.SrcPort == local || e.Tuple.DstPort == local)
			}); err != nil {
				return err
			}
			fmt.Fprintf(w, "  the connection that was open: %v\n", plain(err))
			return nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.New("the connection outlived its rule")
}

// echo serves a port of a namespace.
func echo(ns *namespace, port int) error {
	var l net.Listener
	err := ns.do(func() (err error) {
		l, err = net.Listen("tcp4", ":"+strconv.Itoa(port))
		return err
	})
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return nil
}

// talk connects from a namespace and exchanges a line. It prints what became of
// that, below what the log says of the connection. There is none if it was
// refused.
func talk(ctx context.Context, w io.Writer, ns *namespace, to string, port int, printed <-chan enforce.Event) (net.Conn, error) {
	var c net.Conn
	err := ns.do(func() (err error) {
		c, err = net.DialTimeout("tcp4", net.JoinHostPort(to, strconv.Itoa(port)), patience)
		return err
	})
	result := "answered"
	if err == nil {
		if err = pour(c, 1, patience); err != nil {
			c.Close()
		}
	}
	if err != nil {
		c, result = nil, plain(err).Error()
	}
	err = await(ctx, printed, func(e *enforce.Event) bool {
		return e.Kind != enforce.FlowClosed && e.Tuple.DstAddr().String() == to && int(e.Tuple.DstPort) == port
	})
	fmt.Fprintf(w, "  connect to %s port %d: %s\n", to, port, result)
	return c, err
}

// await returns once an event is printed that is the one.
func await(ctx context.Context, printed <-chan enforce.Event, one func(*enforce.Event) bool) error {
	late := time.After(patience)
	for {
		select {
		case e := <-printed:
			if one(&e) {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return errors.New("the log has nothing about a connection")
		}
	}
}

// plain is the cause of a network error.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// pour sends n bytes and reads their echo, within a time.
func pour(c net.Conn, n int64, within time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(within))
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(c, zeros{}, n)
		sent <- err
	}()
	_, err := io.CopyN(io.Discard, c, n)
	return errors.Join(err, <-sent)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
