// Command listener puts a security group in front of a net.Listener and a
// net.PacketConn of an ordinary Go service, and changes it while clients are
// connected.
//
//	go run ./examples/listener
//
// The service echoes on the loopback interface; its clients come from 127.0.0.1
// and 127.0.0.2 (Linux answers to all of 127.0.0.0/8; elsewhere add the second
// address to the loopback interface first). Guard, in guard.go, is what to
// take home.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy"
)

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(w io.Writer) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer tcp.Close()
	port := addrPort(tcp.Addr()).Port()
	udp, err := net.ListenPacket("udp", "127.0.0.1:"+strconv.Itoa(int(port)))
	if err != nil {
		return err
	}
	defer udp.Close()

	// The service is an interface with one group; a store holds the policy and
	// a reconciler keeps the guard in step with it.
	store, err := newStore(port)
	if err != nil {
		return err
	}
	refused := make(chan string, 16) // more than the demonstration ever holds
	guard := &Guard{Interface: "echo", Refused: func(_ netip.AddrPort, why string) {
		select {
		case refused <- why:
		default: // must not block
		}
	}}
	reconciler, err := enforce.NewReconciler(store, enforce.ReconcilerOptions{}, enforce.Target{Name: "sockets", Backend: guard})
	if err != nil {
		return err
	}
	go reconciler.Run(ctx)
	go serve(guard.Listener(tcp))
	go servePackets(guard.PacketConn(udp))

	_, rev := store.Snapshot()
	if err := reconciler.Wait(ctx, rev); err != nil {
		return err
	}
	fmt.Fprintln(w, "policy: the service is open to 127.0.0.1")
	friend := client{w, port, "127.0.0.1", refused}
	stranger := client{w, port, "127.0.0.2", refused}
	conn := friend.say("tcp")
	friend.say("udp")
	stranger.say("tcp")
	stranger.say("udp")

	rev, err = store.Update(operator, func(tx *policy.Tx) error {
		return tx.Apply(policy.PutGroup{Group: group(port, "127.0.0.2/32")})
	})
	if err != nil {
		return err
	}
	if err := reconciler.Wait(ctx, rev); err != nil {
		return err
	}
	fmt.Fprintln(w, "policy: the service is open to 127.0.0.2")
	friend.again(conn)
	stranger.say("tcp")
	stranger.say("udp")
	return nil
}

var operator = sg.Actor{ID: "operator", Admin: true}

func newStore(port uint16) (*policy.Store, error) {
	profile, ok := dialect.Profile("strict")
	if !ok {
		return nil, errors.New("no profile strict")
	}
	store, err := policy.NewStore(profile)
	if err != nil {
		return nil, err
	}
	_, err = store.Update(operator, func(tx *policy.Tx) error {
		return tx.Apply(
			policy.PutGroup{Group: group(port, "127.0.0.1/32")},
			policy.PutInterface{Interface: &sg.Interface{
				ID: "echo", VPC: "lo", Addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Groups: []sg.GroupID{"sg-echo"},
			}},
		)
	})
	return store, err
}

// group opens the service to one client.
func group(port uint16, client string) *sg.Group {
	from := sg.PeerCIDR(netip.MustParsePrefix(client))
	return &sg.Group{ID: "sg-echo", Name: "echo", VPC: "lo", Rules: []sg.Rule{
		{ID: "tcp", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(port), Peer: from},
		{ID: "udp", Direction: sg.Ingress, Protocol: sg.UDP, Ports: sg.Port(port), Peer: from},
	}}
}

// serve echoes lines. It knows nothing of security groups.
func serve(l net.Listener) {
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
}

func servePackets(c net.PacketConn) {
	b := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		_, _ = c.WriteTo(b[:n], from)
	}
}

// client talks to the service from one address and prints what comes of it.
type client struct {
	w       io.Writer
	port    uint16
	address string
	refused <-chan string
}

// say connects, sends a line and waits for the echo.
func (c client) say(network string) net.Conn {
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.address)}}
	if network == "udp" {
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(c.address)}
	}
	conn, err := d.Dial(network, "127.0.0.1:"+strconv.Itoa(int(c.port)))
	if err != nil { // the reset came before connect returned
		c.print(network, "refused, "+<-c.refused)
		return nil
	}
	c.exchange(network, conn)
	return conn
}

// again uses a connection that was open before.
func (c client) again(conn net.Conn) { c.exchange("tcp, the same connection", conn) }

func (c client) exchange(what string, conn net.Conn) {
	answer := make(chan string, 1)
	go func() {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = fmt.Fprintln(conn, "hello")
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil {
			answer <- line[:len(line)-1]
		}
	}()
	select {
	case line := <-answer:
		c.print(what, "echo "+line)
	case why := <-c.refused:
		c.print(what, "refused, "+why)
	}
}

func (c client) print(what, result string) {
	fmt.Fprintf(c.w, "  %s %s: %s\n", c.address, what, result)
}
