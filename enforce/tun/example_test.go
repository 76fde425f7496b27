package tun_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/tun"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// segment is a TCP segment with SYN to a port of 10.0.0.5.
func segment(port uint16) []byte {
	client, server := netip.MustParseAddrPort("192.0.2.7:4000"), netip.AddrPortFrom(netip.MustParseAddr("10.0.0.5"), port)
	return enforcetest.TCP(client, server, packet.SYN, 1, 0)
}

// engine enforces a policy that lets anybody in at port 443 of interface web-1.
func engine() *enforce.Engine {
	snapshot, err := policy.Build(strict.Profile(),
		policy.PutGroup{Group: &sg.Group{ID: "sg-web", Name: "web", Rules: []sg.Rule{{
			ID: "https", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0")),
		}}}},
		policy.PutInterface{Interface: &sg.Interface{ID: "web-1", Groups: []sg.GroupID{"sg-web"}}})
	if err != nil {
		panic(err)
	}
	matcher, err := compile.Compile(snapshot)
	if err != nil {
		panic(err)
	}
	e := enforce.NewEngine(enforce.Options{})
	_ = e.Apply(context.Background(), matcher)
	return e
}

// host is a device in memory: the workload behind it prints what it gets.
type host struct{}

func (host) Read([][]byte, []int, int) (int, error) { return 0, io.EOF }
func (host) BatchSize() int                         { return 16 }
func (host) Close() error                           { return nil }

func (host) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		fmt.Println("the workload gets port", int(b[offset+22])<<8|int(b[offset+23]))
	}
	return len(bufs), nil
}

// A Filter goes round any device that reads and writes batches.
func ExampleFilter() {
	filtered := tun.New(host{}, engine().Port("web-1"), tun.FilterOptions{Answers: tun.Answers{Reject: true}})
	n, err := filtered.Write([][]byte{segment(443), segment(22), segment(8443)}, 0)
	fmt.Println(n, "written,", err)

	// The refused ones are answered: the next packets out are resets.
	bufs, sizes := make([][]byte, filtered.BatchSize()), make([]int, filtered.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, 1500)
	}
	n, _ = filtered.Read(bufs, sizes, 0)
	for _, b := range bufs[:n] {
		const rst = 4
		fmt.Println("port", int(b[20])<<8|int(b[21]), "says reset:", b[33]&rst != 0)
	}
	fmt.Println("dropped:", filtered.Stats().Ingress.Drops.Policy)
	// Output:
	// the workload gets port 443
	// 3 written, <nil>
	// port 22 says reset: true
	// port 8443 says reset: true
	// dropped: 2
}

// Open makes a TUN interface; it needs root and Linux, so this is not run.
func ExampleOpen() {
	device, err := tun.Open(tun.Options{Name: "sg%d", Queues: 2})
	if errors.Is(err, errors.ErrUnsupported) {
		fmt.Println("not on this system")
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer device.Close()
	fmt.Println(device.Name(), "has", len(device.Queues()), "queues and offloads", device.Offload())
}

// A Gateway between the TUN of a workload and an uplink forwards super-packets
// whole. It needs root and Linux, so this is not run.
func ExampleGateway() {
	workload, err := tun.Open(tun.Options{Name: "web-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer workload.Close()
	uplink, err := tun.Open(tun.Options{Name: "uplink"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer uplink.Close()
	g, err := tun.NewGateway(
		tun.End{Links: workload.Links(), Port: engine().Port("web-1")},
		tun.End{Links: uplink.Links()}, // not policed
		tun.GatewayOptions{},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	fmt.Println(g.Run(ctx)) // until ctx is done, or a device is closed
}

// What the kernel and a device can do for each other.
func ExampleOffload() {
	o := tun.OffloadChecksum | tun.OffloadTSO
	fmt.Println(o, o.Has(tun.OffloadUSO))
	// Output: checksum+tso false
}
