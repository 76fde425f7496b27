package conntrack

import (
	"bytes"
	"errors"
	"testing"

	"example.com/secgroup/conntrack/packet"
)

// FuzzRestore reads a file as it is, or, if sealed, items with the right
// digests around them. What is refused leaves the table empty; what is not is
// what a table would write, and packets find a table that works.
func FuzzRestore(f *testing.F) {
	file := saved(f, mixed(0), 3*second, SnapshotOptions{})
	f.Add(false, file)
	f.Add(true, file[snapshotHeader+4:len(file)-4-8-2*32])
	f.Add(true, []byte{})
	f.Fuzz(func(t *testing.T, sealed bool, b []byte) {
		if sealed {
			if len(b) > maxBlock {
				return
			}
			count := uint64(0)
			r := newBlockReader(nil)
			if r.items(b, func(Zone, []byte, *record) { count++ }) != nil {
				count = 0
			}
			b = reframe(count, b)
		}
		tb := NewTable(Options{MaxEntries: 256, Shards: 2, MaxFragments: 1})
		got, err := tb.Restore(bytes.NewReader(b), 0, RestoreOptions{})
		if err != nil {
			var e *SnapshotError
			if !errors.As(err, &e) || !errors.Is(err, ErrSnapshotDamaged) && !errors.Is(err, ErrSnapshotVersion) ||
				tb.Len() != 0 || got != (Restored{}) {
				t.Fatalf("%v, %+v, %d entries", err, got, tb.Len())
			}
			return
		}
		if tb.Len() != got.Connections {
			t.Fatalf("%+v, %d entries", got, tb.Len())
		}
		var one bytes.Buffer
		if n, err := tb.Snapshot(&one, 0, SnapshotOptions{}); err != nil || n != got.Connections {
			t.Fatal(n, err)
		}
		all, _ := recordsOf(b)
		list, err := recordsOf(one.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got.Connections == len(all) { // the names are not kept
			again, _ := recordsOf(asRestored(tb, b))
			for i := range list {
				if list[i] != again[i] {
					t.Fatalf("saved %q, read %q", list[i], again[i])
				}
			}
		}
		for e := range tb.All(0) {
			for _, tup := range []Tuple{e.Orig, reverse(e.Orig)} {
				for side := range Side(2) {
					for _, flags := range []uint8{packet.SYN, packet.SYN | packet.ACK, packet.ACK, packet.FIN | packet.ACK, packet.RST} {
						p := &packet.Packet{Tuple: tup, Length: 40, L4: 20, Flags: flags, Window: 1000, ICMPType: e.ICMPType, ICMPCode: e.ICMPCode}
						tb.Track(0, e.Zone, side, p)
					}
				}
			}
		}
		tb.Stats()
		tb.Sweep(maxLeap, 1<<20)
		if tb.Len() != 0 {
			t.Fatalf("%d entries are immortal", tb.Len())
		}
	})
}

// asRestored returns what a snapshot is of a table that it was restored to:
// without names of zones, and with no deadline further away than tb allows.
func asRestored(tb *Table, file []byte) []byte {
	var b bytes.Buffer
	f := newBlockWriter(&b)
	_ = readSnapshot(bytes.NewReader(file), func(z Zone, _ []byte, r *record) {
		if r.left != 0 {
			r.left, _ = tb.restoredDeadline(0, r, 0)
		}
		_ = f.writeZone(z, "", []record{*r})
	})
	_ = f.end()
	return b.Bytes()
}
