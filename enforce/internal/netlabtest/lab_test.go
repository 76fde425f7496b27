//go:build linux

package netlabtest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { Main(m) }

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// small is two ports and an uplink.
func small() Config {
	return Config{
		Ports: []Port{
			{Device: "sg0", Addrs: prefixes("10.0.0.5/32", "fd00::5/128")},
			{Device: "sg1", Addrs: prefixes("10.0.0.6/32", "fd00::6/128")},
		},
		Uplinks: []Uplink{{Device: "up0"}},
	}
}

func TestForward(t *testing.T) {
	lab := Start(t, small())
	steps := []Step{
		{From: "sg0", To: "sg1", Packet: udp(t, "10.0.0.5:1", "10.0.0.6:2", nil)},
		{From: "sg1", To: "sg0", Packet: udp(t, "10.0.0.6:1", "10.0.0.5:2", nil)},
		{From: "sg0", To: "sg1", Packet: udp(t, "[fd00::5]:1", "[fd00::6]:2", nil)},
		{From: "sg0", To: "up0", Packet: udp(t, "10.0.0.5:1", "198.51.100.1:2", nil)},
		{From: "up0", To: "sg0", Packet: udp(t, "198.51.100.1:2", "10.0.0.5:1", nil)},
		{From: "up0", To: "sg1", Packet: udp(t, "[2001:db8::1]:2", "[fd00::6]:1", nil)},
		{From: "sg1", To: "up0", Packet: udp(t, "[fd00::6]:2", "[2001:db8::1]:1", nil)},
		{From: "sg1", To: "sg0", Packet: udp(t, "[fd00::6]:2", "[2001:db8::1]:1", nil)},
	}
	r, err := lab.Exchange(steps)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true, true, true, true, true, true, false}, r.Arrived)
	require.Len(t, r.Outputs, len(steps))
	require.Len(t, r.At("up0"), 3)
	require.Len(t, r.Extra("up0"), 1)
}

// load replaces everything in the lab's firewall by the rules of a forward chain.
func load(t testing.TB, lab *Lab, policy string, rules ...string) {
	t.Helper()
	text := "flush ruleset\ntable inet t {\nchain forward {\ntype filter hook forward priority 0; policy " + policy + ";\n" +
		strings.Join(rules, "\n") + "\n}\n}\n"
	require.NoError(t, lab.Ruleset(t.Context(), text))
}

// send is Send that cannot fail.
func send(t testing.TB, lab *Lab, steps ...Step) []bool {
	t.Helper()
	got, err := lab.Send(steps)
	require.NoError(t, err)
	return got
}

func TestRuleset(t *testing.T) {
	lab := Start(t, small())
	load(t, lab, "drop",
		`iifname "sg0" ip saddr 10.0.0.5 ip daddr 10.0.0.6 tcp dport 80 accept`,
		`oifname "sg0" udp dport 53 accept`,
		`meta nfproto ipv6 tcp dport 443 accept`)
	steps := []Step{
		{From: "sg0", To: "sg1", Packet: tcp(t, "10.0.0.5:1000", "10.0.0.6:80", "S", 1, 0)},
		{From: "sg0", To: "sg1", Packet: tcp(t, "10.0.0.5:1000", "10.0.0.6:81", "S", 1, 0)},
		{From: "up0", To: "sg1", Packet: tcp(t, "10.0.0.5:1000", "10.0.0.6:80", "S", 1, 0)},
		{From: "up0", To: "sg0", Packet: udp(t, "192.0.2.1:1000", "10.0.0.5:53", []byte("x"))},
		{From: "up0", To: "sg1", Packet: udp(t, "192.0.2.1:1000", "10.0.0.6:53", []byte("x"))},
		{From: "sg1", To: "up0", Packet: tcp(t, "[fd00::6]:1000", "[2001:db8::1]:443", "S", 1, 0)},
		{From: "sg1", To: "up0", Packet: tcp(t, "[fd00::6]:1000", "[2001:db8::1]:444", "S", 1, 0)},
		{From: "sg1", To: "up0", Packet: tcp(t, "10.0.0.6:1000", "192.0.2.1:443", "S", 1, 0)},
	}
	want := []bool{true, false, false, true, false, true, false, false}
	require.Equal(t, want, send(t, lab, steps...))

	load(t, lab, "accept")
	for i := range want {
		want[i] = true
	}
	require.Equal(t, want, send(t, lab, steps...))

	err := lab.Ruleset(t.Context(), "add rule inet t nowhere accept")
	require.ErrorContains(t, err, "nowhere")
}

func TestStates(t *testing.T) {
	for name, a := range map[string]struct{ client, server string }{
		"v4": {"10.0.0.5:1000", "10.0.0.6:80"},
		"v6": {"[fd00::5]:1000", "[fd00::6]:80"},
	} {
		t.Run(name, func(t *testing.T) {
			lab := Start(t, small())
			load(t, lab, "drop", "ct state invalid drop", "ct state established accept", `iifname "sg0" tcp dport 80 ct state new accept`)
			out := func(flags string, seq, ack uint32) Step {
				return Step{From: "sg0", To: "sg1", Packet: tcp(t, a.client, a.server, flags, seq, ack)}
			}
			back := func(flags string, seq, ack uint32) Step {
				return Step{From: "sg1", To: "sg0", Packet: tcp(t, a.server, a.client, flags, seq, ack)}
			}
			require.Equal(t,
				[]bool{false, false, true, true, true, true, true, false, true},
				send(t, lab,
					out("A", 101, 501),   // mid-stream, nothing known
					back("SA", 500, 101), // an answer to nothing
					out("S", 100, 0),
					back("SA", 500, 101),
					out("A", 101, 501),
					out("A", 101, 501), // the same bytes again
					back("PA", 501, 101),
					back("A", 900000501, 101), // outside the window
					out("A", 101, 501),
				))
			flows, err := lab.Conntrack()
			if !errors.Is(err, os.ErrNotExist) {
				require.NoError(t, err)
				require.Len(t, flows, 1)
				require.Contains(t, flows[0], "ESTABLISHED")
			}
			require.NoError(t, lab.FlushConntrack())
			require.Equal(t, []bool{false, false}, send(t, lab, out("A", 101, 501), back("A", 501, 101)))

			// Loose tracking takes up what it has not seen from the start.
			require.NoError(t, lab.Sysctl("net.netfilter.nf_conntrack_tcp_loose", "1"))
			require.Equal(t, []bool{true, true}, send(t, lab, out("A", 101, 501), back("A", 501, 101)))
		})
	}
}

// TestChecksum: the lab leaves transport checksums alone, and the kernel looks.
func TestChecksum(t *testing.T) {
	lab := Start(t, small())
	load(t, lab, "accept", "ct state invalid drop")
	good := udp(t, "10.0.0.5:1", "10.0.0.6:2", []byte("x"))
	bad := append([]byte(nil), good...)
	bad[26] ^= 1
	require.Equal(t, []bool{true, false},
		send(t, lab, Step{From: "sg0", To: "sg1", Packet: good}, Step{From: "sg0", To: "sg1", Packet: bad}))
}

func TestFragments(t *testing.T) {
	body := make([]byte, 100)
	for name, a := range map[string]struct{ from, allowed, denied string }{
		"v4": {"192.0.2.1:1000", "10.0.0.6:80", "10.0.0.6:81"},
		"v6": {"[2001:db8::1]:1000", "[fd00::6]:80", "[fd00::6]:81"},
	} {
		t.Run(name, func(t *testing.T) {
			lab := Start(t, small())
			cut := func(to string, order ...int) []Step {
				parts := fragments(t, udp(t, a.from, to, body), 48)
				require.Len(t, parts, 3)
				var out []Step
				for _, i := range order {
					out = append(out, Step{From: "up0", To: "sg1", Packet: parts[i]})
				}
				return out
			}
			// A router that tracks nothing takes fragments as they come.
			require.Equal(t, []bool{true, true}, send(t, lab, cut(a.allowed, 0, 2)...))

			load(t, lab, "drop", "udp dport 80 ct state new accept")
			for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}} {
				r, err := lab.Exchange(cut(a.allowed, order...))
				require.NoError(t, err)
				require.Equal(t, []bool{true, true, true}, r.Arrived)
				require.Empty(t, r.Extra("sg1"))
				for _, o := range r.Outputs {
					require.Equal(t, 2, o.Step, "the last fragment lets them all go")
				}
				require.Equal(t, []bool{false, false, false}, send(t, lab, cut(a.denied, order...)...))
			}
			require.Equal(t, []bool{false, false}, send(t, lab, cut(a.allowed, 0, 2)...))
		})
	}
}

// TestVPCs: two workloads with the same address, each in a world of its own.
func TestVPCs(t *testing.T) {
	addrs := prefixes("10.0.0.5/32", "fd00::5/128")
	lab := Start(t, Config{
		Ports: []Port{
			{Device: "red", VPC: 1, Addrs: addrs},
			{Device: "red2", VPC: 1, Addrs: prefixes("10.0.0.6/32", "fd00::6/128")},
			{Device: "blue", VPC: 2, Addrs: addrs},
		},
		Uplinks: []Uplink{
			{Device: "redup", VPC: 1, Remotes: prefixes("192.0.2.0/24")},
			{Device: "blueup", VPC: 2},
		},
	})
	require.Equal(t, []string{"red", "red2", "blue", "redup", "blueup"}, lab.Devices())
	in4, in6 := udp(t, "192.0.2.1:1", "10.0.0.5:2", nil), udp(t, "[2001:db8::1]:1", "[fd00::5]:2", nil)
	out4, out6 := udp(t, "10.0.0.5:2", "192.0.2.1:1", nil), udp(t, "[fd00::5]:2", "[2001:db8::1]:1", nil)
	side := udp(t, "10.0.0.5:2", "10.0.0.6:1", nil)
	steps := []Step{
		{From: "redup", To: "red", Packet: in4},
		{From: "blueup", To: "blue", Packet: in4},
		{From: "redup", To: "red", Packet: in6},
		{From: "blueup", To: "blue", Packet: in6},
		{From: "red", To: "redup", Packet: out4},
		{From: "blue", To: "blueup", Packet: out4},
		{From: "blue", To: "blueup", Packet: out6},
		{From: "red", To: "red2", Packet: side},
		{From: "blue", To: "blueup", Packet: side},
		{From: "red", Packet: out6}, // no route
	}
	r, err := lab.Exchange(steps)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true, true, true, true, true, true, true, true, false}, r.Arrived)
	require.Len(t, r.Outputs, 9)

	// The same five-tuple in two zones: two connections.
	load(t, lab, "drop", "ct state established accept", `iifname "red" accept`)
	require.NoError(t, lab.Ruleset(t.Context(), `table inet z {
	chain c {
		type filter hook prerouting priority -300
		iifname { "red", "red2", "redup" } ct zone set 1
		iifname { "blue", "blueup" } ct zone set 2
	}
}`))
	require.Equal(t, []bool{false, true, true, false}, send(t, lab,
		Step{From: "blue", To: "blueup", Packet: out4},
		Step{From: "red", To: "redup", Packet: out4},
		Step{From: "redup", To: "red", Packet: in4},
		Step{From: "blueup", To: "blue", Packet: in4},
	))
}

// TestRejects: what the router answers is seen, whole, in its step.
func TestRejects(t *testing.T) {
	lab := Start(t, small())
	load(t, lab, "accept", "tcp dport 80 reject with tcp reset", "udp dport 80 reject with icmpx admin-prohibited")
	r, err := lab.Exchange([]Step{
		{From: "sg0", To: "sg1", Packet: udp(t, "10.0.0.5:1", "10.0.0.6:2", nil)},
		{From: "sg0", To: "sg1", Packet: tcp(t, "10.0.0.5:1", "10.0.0.6:80", "S", 1, 0)},
		{From: "up0", To: "sg1", Packet: tcp(t, "[2001:db8::1]:1", "[fd00::6]:80", "S", 1, 0)},
		{From: "sg0", To: "sg1", Packet: udp(t, "10.0.0.5:1", "10.0.0.6:80", nil)},
		{From: "up0", To: "sg1", Packet: udp(t, "[2001:db8::1]:1", "[fd00::6]:80", nil)},
	})
	require.NoError(t, err)
	require.Equal(t, []bool{true, false, false, false, false}, r.Arrived)
	require.Len(t, r.Outputs, 5)
	require.Len(t, r.Extra("sg0"), 2)
	require.Len(t, r.Extra("up0"), 2)
	require.Empty(t, r.Extra("sg1"))
	for i, o := range r.Outputs {
		require.Equal(t, i, o.Step)
		require.Equal(t, []int{0, -1, -1, -1, -1}[i], o.Forwarded)
		p := decode(o.Packet)
		require.Nil(t, p.ErrorLayer())
		switch i {
		case 1, 2:
			require.True(t, p.Layer(layers.LayerTypeTCP).(*layers.TCP).RST)
		case 3:
			require.EqualValues(t, layers.ICMPv4CodeCommAdminProhibited, p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4).TypeCode.Code())
		case 4:
			require.EqualValues(t, layers.ICMPv6CodeAdminProhibited, p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6).TypeCode.Code())
		}
		require.Equal(t, o.Packet, recomputed(t, p), "a checksum is wrong")
	}
}

func decode(packet []byte) gopacket.Packet {
	first := layers.LayerTypeIPv4
	if packet[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	return gopacket.NewPacket(packet, first, gopacket.Default)
}

// recomputed is the packet with the checksums that it should have.
func recomputed(t *testing.T, p gopacket.Packet) []byte {
	t.Helper()
	var parts []gopacket.SerializableLayer
	for _, l := range p.Layers() {
		if l, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			require.NoError(t, l.SetNetworkLayerForChecksum(p.NetworkLayer()))
		}
		parts = append(parts, l.(gopacket.SerializableLayer))
	}
	return serialize(t, parts...)
}

// TestRouter: packets to the router itself, and its answers.
func TestRouter(t *testing.T) {
	c := small()
	c.HostAddrs = prefixes("10.0.0.1/32", "fd00::1/128")
	lab := Start(t, c)
	icmp := serialize(t, &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: net.IP{10, 0, 0, 5}, DstIP: net.IP{10, 0, 0, 1}},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0)})
	probe := []Step{
		{From: "sg0", Packet: icmp},
		{From: "sg1", Packet: tcp(t, "[fd00::6]:1", "[fd00::1]:2", "S", 1, 0)},
	}
	r, err := lab.Exchange(probe)
	require.NoError(t, err)
	require.Equal(t, []bool{false, false}, r.Arrived)
	require.Len(t, r.Extra("sg0"), 1)
	require.Len(t, r.Extra("sg1"), 1)
	require.NoError(t, lab.Ruleset(t.Context(), "table inet t {\nchain c {\ntype filter hook input priority 0; policy drop\n}\n}"))
	r, err = lab.Exchange(probe)
	require.NoError(t, err)
	require.Empty(t, r.Outputs)
}

// TestSame: a caller may know a packet by something else.
func TestSame(t *testing.T) {
	lab := Start(t, small())
	load(t, lab, "accept", "ip dscp set cs1")
	packet := udp(t, "10.0.0.5:1", "10.0.0.6:2", nil)
	payload := func(got []byte) bool { return len(got) == 28 && string(got[20:]) == string(packet[20:]) }
	require.Equal(t, []bool{false, true}, send(t, lab,
		Step{From: "sg0", To: "sg1", Packet: packet},
		Step{From: "sg0", To: "sg1", Packet: packet, Same: payload},
	))
}

// TestGarbage: whatever is injected, the lab lives on.
func TestGarbage(t *testing.T) {
	lab := Start(t, small())
	good := udp(t, "10.0.0.5:1", "10.0.0.6:2", []byte("payload"))
	steps := []Step{{From: "sg0", Packet: nil, EtherType: 0x0800}}
	for n := 1; n < len(good); n++ {
		steps = append(steps, Step{From: "sg0", Packet: good[:n], EtherType: 0x0800})
	}
	steps = append(steps,
		Step{From: "sg0", Packet: good, EtherType: 0x86dd},
		Step{From: "sg0", Packet: append([]byte{0x54}, good[1:]...), EtherType: 0x0800},
		Step{From: "sg0", Packet: append([]byte{0x40}, good[1:]...)},
		Step{From: "sg0", Packet: []byte{0, 1, 8, 0, 6, 4, 0, 1}, EtherType: 0x0806},
	)
	r, err := lab.Exchange(steps)
	require.NoError(t, err)
	require.NotContains(t, r.Arrived, true)
	require.Equal(t, []bool{true}, send(t, lab, Step{From: "sg0", To: "sg1", Packet: append(good[:len(good):len(good)], "trailer"...)}))

	for _, c := range []struct {
		step Step
		want string
	}{
		{Step{From: "nope", Packet: good}, `step 0: no device "nope"`},
		{Step{From: "sg0", To: "nope", Packet: good}, `step 0: no device "nope"`},
		{Step{From: "sg0"}, "EtherType"},
		{Step{From: "sg0", Packet: make([]byte, 1501), EtherType: 0x0800}, "message too long"},
		{Step{From: "sg0", Packet: make([]byte, 1<<17), EtherType: 0x0800}, "message too long"},
	} {
		_, err := lab.Send([]Step{c.step})
		require.ErrorContains(t, err, c.want)
	}
	require.Equal(t, []bool{true}, send(t, lab, Step{From: "sg0", To: "sg1", Packet: good}))
}

func TestConfig(t *testing.T) {
	Require(t)
	for want, c := range map[string]Config{
		"no name":   {Ports: []Port{{Device: "a/b"}}},
		"twice":     {Ports: []Port{{Device: "a"}}, Uplinks: []Uplink{{Device: "a"}}},
		"the lab's": {Ports: []Port{{Device: markerIn}}},
		"range":     {Ports: []Port{{Device: "a", VPC: -1}}},
		"prefix":    {Ports: []Port{{Device: "a", Addrs: make([]netip.Prefix, 1)}}},
		"MTU":       {Ports: []Port{{Device: "a"}}, MTU: 1},
	} {
		_, err := New(c)
		require.ErrorContains(t, err, want)
	}
	lab := Start(t, Config{})
	require.Empty(t, send(t, lab))
	lab = Start(t, Config{Ports: small().Ports, MTU: 9000})
	require.Equal(t, []bool{true}, send(t, lab, Step{From: "sg0", To: "sg1", Packet: udp(t, "10.0.0.5:1", "10.0.0.6:2", make([]byte, 8000))}))
}

// TestDo: functions and commands see the router's namespace.
func TestDo(t *testing.T) {
	lab := Start(t, small())
	var names []string
	require.NoError(t, lab.Do(func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			names = append(names, i.Name)
		}
		return err
	}))
	require.Equal(t, []string{"lo", "sg0", "sg1", "up0"}, names)

	require.ErrorIs(t, lab.Do(func() error { return io.EOF }), io.EOF)

	out, err := lab.Command(t.Context(), "ip", "-o", "link").Output()
	require.NoError(t, err)
	require.Equal(t, 4, strings.Count(string(out), "\n"))
	out, err = lab.Command(t.Context(), "ip", "route", "get", "nonsense").CombinedOutput()
	require.Error(t, err)
	require.NotEmpty(t, out)
	text, err := lab.Run(t.Context(), "link show dev sg1\n", "ip", "-batch", "-")
	require.NoError(t, err)
	require.Contains(t, text, "sg1")
	_, err = lab.Run(t.Context(), "", "ip", "link", "show", "dev", "sg9")
	require.ErrorContains(t, err, "sg9")
	_, err = lab.Run(t.Context(), "", "no-such-command")
	require.Error(t, err)

	own, err := os.Readlink("/proc/thread-self/ns/net")
	require.NoError(t, err)
	for _, thread := range threads(t) {
		require.Equal(t, own, thread, "a thread was left in a lab's namespace")
	}
}

// threads are the network namespaces of all threads of this process.
func threads(t *testing.T) map[string]string {
	links, err := filepath.Glob("/proc/self/task/*/ns/net")
	require.NoError(t, err)
	out := make(map[string]string)
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil { // the thread may end
			out[link] = to
		}
	}
	return out
}

// TestClose: nothing that keeps a namespace alive is left.
func TestClose(t *testing.T) {
	Require(t)
	lab, err := New(small())
	require.NoError(t, err)
	spaces := make(map[string]bool)
	for _, f := range []*os.File{lab.host, lab.peer} {
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		require.NoError(t, err)
		spaces[name] = true
	}
	require.Len(t, spaces, 2)
	send(t, lab, Step{From: "sg0", To: "sg1", Packet: udp(t, "10.0.0.5:1", "10.0.0.6:2", nil)})

	// Close waits for what is under way, which goes on to its end.
	entered, leave, closed, late := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		late <- lab.Do(func() error {
			close(entered)
			<-leave
			_, err := net.InterfaceByName("sg0")
			return err
		})
	}()
	<-entered
	go func() {
		defer close(closed)
		lab.Close()
	}()
	close(leave)
	require.NoError(t, <-late)
	<-closed
	lab.Close()

	fds, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	for _, fd := range fds {
		name, _ := os.Readlink(fd)
		require.False(t, spaces[name], "an open file holds a namespace")
	}
	for _, ns := range threads(t) {
		require.False(t, spaces[ns], "a thread is in a namespace")
	}
	_, err = lab.Send(nil)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, lab.Do(func() error { return nil }), ErrClosed)
	require.ErrorIs(t, lab.Ruleset(t.Context(), ""), ErrClosed)
}

// TestOrder judges a hundred thousand packets at random, while other goroutines
// and a second lab keep the machine busy. Every verdict must be the one of the
// packet's own rule.
func TestOrder(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	labs := []*Lab{Start(t, small()), Start(t, small())}
	stop := make(chan struct{})
	var busy, judging sync.WaitGroup
	for range 2 {
		busy.Go(func() {
			for x := uint32(1); ; x = x*1664525 + 1013904223 {
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for which, lab := range labs {
		load(t, lab, "drop", fmt.Sprintf("udp dport 1-1000 udp sport %d accept", which+1))
		judging.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(which)))
			from, to := []string{"10.0.0.5:%d", "[fd00::5]:%d"}, []string{"10.0.0.6:%d", "[fd00::6]:%d"}
			var packets [4][2][]byte // by family and allowed, and two of each
			for i := range packets {
				for k := range packets[i] {
					port := 1 + k*999
					if i%2 == 0 {
						port += 1000 + k
					}
					packets[i][k] = udp(t, fmt.Sprintf(from[i/2], which+1), fmt.Sprintf(to[i/2], port), nil)
				}
			}
			for sent := 0; sent < n/2; {
				steps := make([]Step, 1+random.IntN(2000))
				want := make([]bool, len(steps))
				for i := range steps {
					kind := random.IntN(4)
					steps[i] = Step{From: "sg0", To: "sg1", Packet: packets[kind][random.IntN(2)]}
					want[i] = kind%2 == 1
				}
				got, err := lab.Send(steps)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range got {
					if got[i] != want[i] {
						t.Errorf("packet %d: arrived %v, want %v", sent+i, got[i], want[i])
						return
					}
				}
				sent += len(steps)
			}
		})
	}
	judging.Wait()
	close(stop)
	busy.Wait()
}

// TestConcurrent: one lab, many callers, and rulesets that change meanwhile.
func TestConcurrent(t *testing.T) {
	lab := Start(t, small())
	load(t, lab, "drop", "udp dport 2 accept")
	var senders sync.WaitGroup
	for i := range 8 {
		senders.Go(func() {
			steps := []Step{
				{From: "sg0", To: "sg1", Packet: udp(t, fmt.Sprintf("10.0.0.5:%d", i+1), "10.0.0.6:2", nil)},
				{From: "sg0", To: "sg1", Packet: udp(t, fmt.Sprintf("10.0.0.5:%d", i+1), "10.0.0.6:3", nil)},
			}
			for range 100 {
				got, err := lab.Send(steps)
				if err != nil || !got[0] || got[1] {
					t.Error(got, err)
					return
				}
			}
		})
	}
	for i := range 10 {
		if err := lab.Ruleset(t.Context(), fmt.Sprintf("table inet other%d { }", i)); err != nil {
			t.Error(err)
		}
	}
	senders.Wait()
}

// BenchmarkVerdicts reports verdicts per second, one packet and a thousand per
// call. A virtual machine with two busy CPUs does 28,000 and 60,000.
func BenchmarkVerdicts(b *testing.B) {
	lab := Start(b, small())
	require.NoError(b, lab.Ruleset(b.Context(), `table inet t {
	chain forward {
		type filter hook forward priority 0
		policy drop
		ct state established accept
		udp dport 2 accept
	}
}`))
	allowed := Step{From: "sg0", To: "sg1", Packet: udp(b, "10.0.0.5:1", "10.0.0.6:2", nil)}
	denied := Step{From: "sg0", To: "sg1", Packet: udp(b, "10.0.0.5:1", "10.0.0.6:3", nil)}
	for _, n := range []int{1, 1000} {
		var steps []Step
		var want []bool
		for i := range n {
			if i%2 == 0 {
				steps, want = append(steps, allowed), append(want, true)
			} else {
				steps, want = append(steps, denied), append(want, false)
			}
		}
		b.Run(fmt.Sprintf("steps=%d", n), func(b *testing.B) {
			for b.Loop() {
				got, err := lab.Send(steps)
				if err != nil {
					b.Fatal(err)
				}
				for i := range got {
					if got[i] != want[i] {
						b.Fatal(i, got[i])
					}
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "verdicts/s")
		})
	}
}
