package conntrack_test

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"example.com/secgroup/conntrack"
)

// The table of the next process goes on where this one stands, on another clock.
func ExampleTable_Snapshot() {
	table := conntrack.NewTable(conntrack.Options{})
	out, in := query()
	now := conntrack.Time(5 * time.Hour)
	_, _ = table.Commit(now, 1, conntrack.Local, out, 42, 1)

	var file bytes.Buffer
	n, err := table.Snapshot(&file, now+conntrack.Time(10*time.Second), conntrack.SnapshotOptions{
		Name: func(conntrack.Zone) (string, bool) { return "eth0", true },
	})
	fmt.Println(n, err)

	next := conntrack.NewTable(conntrack.Options{})
	got, err := next.Restore(bytes.NewReader(file.Bytes()), 0, conntrack.RestoreOptions{
		Zone:    func(_ conntrack.Zone, name []byte) (conntrack.Zone, bool) { return 7, string(name) == "eth0" },
		Mark:    func(m conntrack.Mark, _ uint32) (conntrack.Mark, uint32) { return m, 0 },
		Elapsed: 2 * time.Second,
	})
	fmt.Printf("%+v %v\n", got, err)
	for e := range next.All(0) {
		fmt.Println(e.Orig, "in zone", e.Zone, "expires in", time.Duration(e.Expires))
	}
	fmt.Println(next.Track(0, 7, conntrack.Remote, in).State)
	// Output:
	// 1 <nil>
	// {Connections:1 Unwanted:0 Expired:0 Present:0 Full:0} <nil>
	// udp 10.0.0.5:53210 > 9.9.9.9:53 in zone 7 expires in 18s
	// established
}

// A file that is not as it was written is refused whole.
func ExampleTable_Restore() {
	var file bytes.Buffer
	_, _ = conntrack.NewTable(conntrack.Options{}).Snapshot(&file, 0, conntrack.SnapshotOptions{})
	short := file.Bytes()[:20]
	_, err := conntrack.NewTable(conntrack.Options{}).Restore(bytes.NewReader(short), 0, conntrack.RestoreOptions{})
	fmt.Println(err)
	var where *conntrack.SnapshotError
	fmt.Println(errors.Is(err, conntrack.ErrSnapshotDamaged), errors.As(err, &where), where.Offset)
	// Output:
	// conntrack: snapshot damaged: byte 20: the file ends
	// true true 20
}
