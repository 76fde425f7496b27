package conntrack

import (
	"bytes"
	"io"
	"testing"
)

// established returns a table with n answered connections of TCP in 16 zones.
func established(b *testing.B, n int) *Table {
	tb := NewTable(Options{MaxEntries: 2 * n, Shards: 16})
	syn, answer := tcp(inside+":1", outside+":443", "S"), tcp(outside+":443", inside+":1", "SA")
	syn.Window, answer.Window, answer.Ack, answer.SACK = 1000, 1000, 1, 1
	for i := range n {
		syn.Tuple.SrcPort, syn.Tuple.Dst[12] = uint16(i), byte(i>>16)
		answer.Tuple = reverse(syn.Tuple)
		z := Zone(i % 16)
		if _, err := tb.Commit(0, z, Local, syn, 1, 1); err != nil {
			b.Fatal(err)
		}
		if c := tb.Track(0, z, Remote, answer); c.State != Established {
			b.Fatal(c)
		}
	}
	return tb
}

// An operation is a table of 100,000 connections.
func BenchmarkSnapshot(b *testing.B) {
	const n = 100_000
	tb := established(b, n)
	b.ReportAllocs()
	for b.Loop() {
		if got, err := tb.Snapshot(io.Discard, 0, SnapshotOptions{}); got != n || err != nil {
			b.Fatal(got, err)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	const n = 100_000
	file := saved(b, established(b, n), 0, SnapshotOptions{})
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		tb := NewTable(Options{MaxEntries: 2 * n, Shards: 16})
		b.StartTimer()
		if got, err := tb.Restore(bytes.NewReader(file), 0, RestoreOptions{}); got.Connections != n || err != nil {
			b.Fatal(got, err)
		}
	}
}
