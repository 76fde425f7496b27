package conntrack

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack/packet"
)

// Snapshots are written and read under traffic: every file is whole, and the
// books balance.
func TestSnapshotUnderTraffic(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 2000, Shards: 4})
	file := saved(t, mixed(0), 3*second, SnapshotOptions{})
	stop := make(chan struct{})
	var work, snaps sync.WaitGroup
	for g := range 3 {
		work.Go(func() {
			now := Time(0)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				now += Time(time.Millisecond)
				p := udp(inside+":1", outside+":53")
				if i%2 == 0 {
					p = tcp(inside+":1", outside+":443", "S")
				}
				p.Tuple.SrcPort = uint16(i % 700)
				z := Zone(g)
				if tb.Track(now, z, Local, p).State == New {
					_, _ = tb.Commit(now, z, Local, p, 1, 1)
				}
				r := &packet.Packet{Tuple: reverse(p.Tuple), Length: 60, L4: 20, Flags: packet.SYN | packet.ACK, Ack: 1, Window: 100}
				tb.Track(now, z, Remote, r)
				if i%64 == 0 {
					tb.Sweep(now, 500)
				}
				if i%1000 == 999 {
					tb.Flush(now, z)
				}
			}
		})
	}
	for range 2 {
		snaps.Go(func() {
			for range 100 {
				var b bytes.Buffer
				n, err := tb.Snapshot(&b, 0, SnapshotOptions{})
				list, err2 := recordsOf(b.Bytes())
				if err != nil || err2 != nil || len(list) != n {
					t.Errorf("%d written, %d read, %v, %v", n, len(list), err, err2)
					return
				}
			}
		})
		snaps.Go(func() {
			for range 100 {
				if _, err := tb.Restore(bytes.NewReader(file), 0, RestoreOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	snaps.Wait()
	close(stop)
	work.Wait()
	s := tb.Stats()
	require.Equal(t, uint64(tb.Len()), s.Insert-s.Expired-s.EarlyDrop-s.Delete)
	require.LessOrEqual(t, s.Found, uint64(1)<<62)
	for z := range Zone(3) {
		tb.Flush(0, z)
	}
	require.Zero(t, tb.Len())
	_, err := tb.Snapshot(io.Discard, 0, SnapshotOptions{})
	require.NoError(t, err)
}
