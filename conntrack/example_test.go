package conntrack_test

import (
	"fmt"
	"net/netip"
	"time"

	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
)

// A DNS query from a workload and its answer, as packet.Decode would read them.
func query() (out, in *packet.Packet) {
	workload, server := netip.MustParseAddrPort("10.0.0.5:53210"), netip.MustParseAddrPort("9.9.9.9:53")
	return &packet.Packet{Tuple: packet.TupleFrom(packet.ProtoUDP, workload, server), Length: 60},
		&packet.Packet{Tuple: packet.TupleFrom(packet.ProtoUDP, server, workload), Length: 120}
}

func Example() {
	table := conntrack.NewTable(conntrack.Options{})
	out, in := query()
	const zone = 1
	var now conntrack.Time

	// Nothing is known yet: the answer alone would need a rule.
	fmt.Println(table.Track(now, zone, conntrack.Remote, in).State)

	// The rules allow the query, so it gets a connection, marked with the rule.
	c := table.Track(now, zone, conntrack.Local, out)
	fmt.Println(c.State)
	if _, err := table.Commit(now, zone, conntrack.Local, out, 42, 1); err != nil {
		fmt.Println(err)
	}

	// The answer belongs to it, and names the rule.
	c = table.Track(now, zone, conntrack.Remote, in)
	fmt.Println(c.State, c.Dir, c.Mark)

	// It is idle for longer than Timeouts.UDPStream.
	now += conntrack.Time(2 * time.Minute)
	fmt.Println(table.Track(now, zone, conntrack.Remote, in).State)
	// Output:
	// new
	// new
	// established reply 42
	// new
}

func ExampleTable_Update() {
	table := conntrack.NewTable(conntrack.Options{
		OnEnd: func(e *conntrack.Entry, why conntrack.End) { fmt.Println("rule", e.Mark, why) },
	})
	out, _ := query()
	_, _ = table.Commit(0, 1, conntrack.Local, out, 41, 1)
	_, _ = table.Commit(0, 2, conntrack.Local, out, 42, 1)

	// Rule 42 was removed: cut what it allowed, and move the rest to epoch 2.
	n := table.Update(0, func(e *conntrack.Entry) (conntrack.Mark, uint32, bool) {
		return e.Mark, 2, e.Mark != 42
	})
	fmt.Println(n, "cut,", table.Len(), "left")
	// Output:
	// rule 42 cut
	// 1 cut, 1 left
}

func ExampleTable_All() {
	table := conntrack.NewTable(conntrack.Options{})
	out, in := query()
	_, _ = table.Commit(0, 1, conntrack.Local, out, 7, 1)
	table.Track(conntrack.Time(time.Second), 1, conntrack.Remote, in)
	for e := range table.All(conntrack.Time(time.Second)) {
		packets, bytes := e.Total()
		fmt.Println(e.Zone, e.OrigSide, e.Status, packets, "packets", bytes, "bytes", time.Duration(e.Expires))
	}
	// Output:
	// 1 local ASSURED 2 packets 180 bytes 2m1s
}

func ExampleTable_CommitFragment() {
	table := conntrack.NewTable(conntrack.Options{})
	first, _ := query()
	first.Fragment, first.FragID, first.MoreFrags, first.FragSize = true, 99, true, 1480
	rest := &packet.Packet{Tuple: first.Tuple, Fragment: true, FragID: 99, FragOffset: 1480 / 8, FragSize: 20}
	rest.Tuple.SrcPort, rest.Tuple.DstPort = 0, 0

	v, _ := table.TrackFragment(0, 1, conntrack.Local, rest)
	fmt.Println(v)

	// The rules accept the first fragment by rule 7; the rest follows it.
	fmt.Println(table.CommitFragment(0, 1, conntrack.Local, first, nil, true, 7))
	v, rule := table.TrackFragment(0, 1, conntrack.Local, rest)
	fmt.Println(v, rule)

	// A piece that rewrites what was delivered ends the datagram.
	rest.FragOffset--
	v, _ = table.TrackFragment(0, 1, conntrack.Local, rest)
	fmt.Println(v)
	// Output:
	// unknown
	// accept
	// accept 7
	// overlap
}
