package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// Guard is a security group in front of sockets. It judges whom a listener
// accepts and from whom a packet socket reads, by the ingress rules of one
// interface, and is an enforce.Backend: a reconciler keeps it in step. Until
// its first Apply it lets nobody in. It is safe for concurrent use.
//
// A Guard sees peers, not packets: flags, fragments and spoofed sources are the
// kernel's business. To judge packets, see the gateway example. The connections
// it returns are net.Conns, not *net.TCPConns.
type Guard struct {
	Interface sg.InterfaceID
	// Refused, if set, hears who was refused and why. It must not block.
	Refused func(peer netip.AddrPort, why string)

	mu      sync.Mutex
	matcher *compile.Matcher
	conns   map[*guardedConn]bool
}

var _ enforce.Backend = (*Guard)(nil)

// Apply makes m the policy. Connections that it refuses are closed, unless the
// profile keeps established ones.
func (g *Guard) Apply(_ context.Context, m *compile.Matcher) error {
	if m == nil {
		return &sg.FieldError{Path: "matcher", Err: sg.ErrRequired}
	}
	g.mu.Lock()
	g.matcher = m
	var cut []*guardedConn
	if m.Program().Established() != sg.Keep {
		for c := range g.conns {
			if !g.allows(c.flow) {
				cut = append(cut, c)
			}
		}
	}
	g.mu.Unlock()
	for _, c := range cut {
		c.cut()
		g.refused(c.peer, c.flow)
	}
	return nil
}

// Close does nothing: the sockets are their owner's, and the policy stays.
func (g *Guard) Close() error { return nil }

// allows judges a flow. The caller holds the lock.
func (g *Guard) allows(f ir.Flow) bool {
	if g.matcher == nil {
		return false
	}
	i, ok := g.matcher.Interface(g.Interface)
	return ok && g.matcher.Match(i.Index, sg.Ingress, f).Action == sg.Accept
}

func (g *Guard) refused(peer netip.AddrPort, f ir.Flow) {
	if g.Refused == nil {
		return
	}
	g.mu.Lock()
	m := g.matcher
	g.mu.Unlock()
	why := "nothing was applied yet"
	if m != nil {
		why = m.Explain(g.Interface, sg.Ingress, f).Why()
	}
	g.Refused(peer, why)
}

// addrPort returns the address of a socket. A socket for both families reports
// IPv4 peers as IPv4-mapped IPv6 addresses; rules know the address itself.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// Listener returns l as far as the group allows.
func (g *Guard) Listener(l net.Listener) net.Listener { return &guardedListener{l, g} }

type guardedListener struct {
	net.Listener
	guard *Guard
}

// Accept returns the next connection that is allowed; others are closed at
// once.
func (l *guardedListener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &guardedConn{Conn: raw, guard: l.guard, peer: addrPort(raw.RemoteAddr())}
		c.flow = ir.Flow{Remote: c.peer.Addr(), Protocol: uint8(sg.TCP), Port: addrPort(raw.LocalAddr()).Port()}
		if l.guard.admit(c) {
			return c, nil
		}
		l.guard.refused(c.peer, c.flow)
		reset(raw)
	}
}

// reset ends a connection the way a closed port does.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// admit judges c and, in one step with it, notes c for the next Apply.
func (g *Guard) admit(c *guardedConn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.allows(c.flow) {
		return false
	}
	if g.conns == nil {
		g.conns = make(map[*guardedConn]bool)
	}
	g.conns[c] = true
	return true
}

type guardedConn struct {
	net.Conn
	guard *Guard
	peer  netip.AddrPort
	flow  ir.Flow
}

// Close closes the connection.
func (c *guardedConn) Close() error {
	c.guard.mu.Lock()
	delete(c.guard.conns, c)
	c.guard.mu.Unlock()
	return c.Conn.Close()
}

// cut ends a connection that is refused now. What its send buffer holds is not
// for that peer any more, so the end is a reset.
func (c *guardedConn) cut() {
	c.guard.mu.Lock()
	delete(c.guard.conns, c)
	c.guard.mu.Unlock()
	reset(c.Conn)
}

// PacketConn returns c as far as the group allows. What may be read from a peer
// decides what may be written to it: a service answers.
func (g *Guard) PacketConn(c net.PacketConn) net.PacketConn { return &guardedPackets{c, g} }

type guardedPackets struct {
	net.PacketConn
	guard *Guard
}

// errRefused is what writing to a peer returns that the group does not allow.
var errRefused = errors.New("refused by security group")

func (c *guardedPackets) flow(peer netip.AddrPort) ir.Flow {
	return ir.Flow{Remote: peer.Addr(), Protocol: uint8(sg.UDP), Port: addrPort(c.LocalAddr()).Port()}
}

func (c *guardedPackets) allows(f ir.Flow) bool {
	c.guard.mu.Lock()
	defer c.guard.mu.Unlock()
	return c.guard.allows(f)
}

// ReadFrom returns the next datagram of a peer that is allowed.
func (c *guardedPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		peer := addrPort(from)
		f := c.flow(peer)
		if c.allows(f) {
			return n, from, nil
		}
		c.guard.refused(peer, f)
	}
}

// WriteTo answers a peer that is allowed.
func (c *guardedPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	if !c.allows(c.flow(addrPort(to))) {
		return 0, errRefused
	}
	return c.PacketConn.WriteTo(b, to)
}
