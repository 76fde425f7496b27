package conntrack

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Of an item that is cut short nothing is taken.
func TestSnapshotCutItems(t *testing.T) {
	item := appendZone(nil, 77, "name")
	for n := range item {
		z, name, size := cutZone(item[:n])
		require.Zero(t, z, n)
		require.Nil(t, name, n)
		require.Zero(t, size, n)
	}
	z, name, size := cutZone(append(item, "more"...))
	require.Equal(t, []any{Zone(77), "name", len(item)}, []any{z, string(name), size})
}

// What a table may have had at the utmost is no lie.
func TestRestoreUtmost(t *testing.T) {
	g := newGate()
	g.out(udp(inside+":1000", outside+":53"))
	var udp record
	require.NoError(t, readSnapshot(bytes.NewReader(saved(t, g.Table, 0, SnapshotOptions{})), func(_ Zone, _ []byte, r *record) { udp = *r }))
	g = newGate()
	g.out(tcp(inside+":1001", outside+":443", "S"))
	var tcp record
	require.NoError(t, readSnapshot(bytes.NewReader(saved(t, g.Table, 0, SnapshotOptions{})), func(_ Zone, _ []byte, r *record) { tcp = *r }))
	tcp.status = StatusEstablished
	for name, c := range map[string]struct {
		r    record
		f    func(r *record)
		want Restored
	}{
		"age":                 {udp, func(r *record) { r.age = maxAge }, Restored{Connections: 1}},
		"idle since it began": {udp, func(r *record) { r.age, r.idle = 5, 5 }, Restored{Connections: 1}},
		"a year idle":         {udp, func(r *record) { r.age, r.idle = maxTicks, maxTicks }, Restored{Expired: 1}},
		"a year left":         {tcp, func(r *record) { r.left = maxTicks }, Restored{Connections: 1}},
		"last segment":        {tcp, func(r *record) { r.tcp.lastSeg, r.tcp.lastDir = segRst, Reply }, Restored{Connections: 1}},
		"first status":        {tcp, func(r *record) { r.status = StatusSynSent }, Restored{Connections: 1}},
		"last status":         {tcp, func(r *record) { r.status = StatusClose }, Restored{Connections: 1}},
		"SYN_SENT":            {tcp, func(r *record) { r.status, r.tcp.synData, r.tcp.lastAck = StatusSynSent, 1, 1 }, Restored{Connections: 1}},
		"options":             {tcp, func(r *record) { r.tcp.opts = [2]options{0x7f, 0x7f}; r.tcp.lastOpts = 0xff }, Restored{Connections: 1}},
		"long name":           {udp, nil, Restored{Connections: 1}},
	} {
		zone := ""
		if c.f == nil {
			zone = strings.Repeat("x", maxZoneName)
		} else {
			c.f(&c.r)
		}
		to := NewTable(Options{})
		got, err := to.Restore(bytes.NewReader(reframe(1, c.r.append(appendZone(nil, 0, zone)))), 0, RestoreOptions{})
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
		for e := range to.All(0) {
			require.Equal(t, -Time(c.r.age)*tick, e.Created, name)
			require.Equal(t, -Time(c.r.idle)*tick, e.LastSeen, name)
		}
	}
}

// Counters come back exactly, whichever of them are too large for an entry.
func TestRestoreCounters(t *testing.T) {
	g := newGate()
	g.out(udp(inside+":1000", outside+":53"))
	g.in(udp(outside+":53", inside+":1000"))
	var r record
	require.NoError(t, readSnapshot(bytes.NewReader(saved(t, g.Table, 0, SnapshotOptions{})), func(_ Zone, _ []byte, got *record) { r = *got }))
	packets, octets := []uint64{1, 1<<24 - 1, 1 << 24, 1<<24 + 1, 1 << 40}, []uint64{0, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1 << 50}
	for _, p := range packets {
		for _, b := range octets {
			for d := range 2 {
				r.packets, r.bytes = [2]uint64{3, 4}, [2]uint64{5, 6}
				r.packets[d], r.bytes[d] = p, b
				tb := NewTable(Options{MaxEntries: 16, Shards: 1, MaxFragments: 1})
				_, err := tb.Restore(bytes.NewReader(reframe(1, r.append(appendZone(nil, 0, "")))), 0, RestoreOptions{})
				require.NoError(t, err)
				require.Zero(t, tb.Stats().Found, "this table has not seen them")
				require.Equal(t, Established, tb.Track(0, 0, Remote, udp(outside+":53", inside+":1000")).State)
				for e := range tb.All(0) {
					require.Equal(t, [2]uint64{r.packets[0], r.packets[1] + 1}, e.Packets)
					require.Equal(t, [2]uint64{r.bytes[0], r.bytes[1] + 100}, e.Bytes)
				}
				require.Equal(t, uint64(1), tb.Stats().Found)
				require.Equal(t, 1, tb.Flush(0, 0))
				require.Equal(t, uint64(1), tb.Stats().Found)
			}
		}
	}
}

// An error says where the damage is, to the byte.
func TestRestoreOffsets(t *testing.T) {
	g := newGate()
	g.out(udp(inside+":1000", outside+":53"))
	file := saved(t, g.Table, 0, SnapshotOptions{})
	var r record
	require.NoError(t, readSnapshot(bytes.NewReader(file), func(_ Zone, _ []byte, got *record) { r = *got }))
	zone := appendZone(nil, 0, "")
	items := zoneItem + plainRecord
	require.Len(t, file, snapshotHeader+4+items+sha256.Size+4+8+sha256.Size)
	block, last := snapshotHeader, snapshotHeader+4+items+sha256.Size // where they begin
	at := func(bad []byte, offset int, what string) {
		t.Helper()
		_, err := NewTable(Options{MaxEntries: 1, MaxFragments: 1}).Restore(bytes.NewReader(bad), 0, RestoreOptions{})
		var e *SnapshotError
		require.ErrorAs(t, err, &e)
		require.Equal(t, int64(offset), e.Offset, "%s: %v", what, err)
	}
	with := func(at int, b ...byte) []byte {
		bad := bytes.Clone(file)
		copy(bad[at:], b)
		return bad
	}
	for i := range file {
		at(file[:i], i, "the file ends")
	}
	at(with(0, 'x'), 0, "not a snapshot")
	at(with(9, 2), 8, "version")
	at(with(11, 1), 10, "not zero")
	at(with(block, 255), block, "length")
	at(with(block+9, 255), block+4+items, "items")
	at(with(last-1, file[last-1]^1), block+4+items, "digest")
	at(with(last+4, 255), last+4+8, "count")
	at(with(len(file)-1, file[len(file)-1]^1), last+4+8, "last digest")
	at(append(bytes.Clone(file), 0), len(file), "more")
	one := slices.Concat(zone, r.append(nil))
	at(reframe(2, one), last+4, "another number")
	at(reframe(1, append(bytes.Clone(one), 9)), block+4+items, "an unknown item")
	at(reframe(2, slices.Concat(one, zone, r.append(nil)[:9])), block+4+items+zoneItem, "half a connection")
	at(reframe(1, r.append(nil)), block+4, "no zone")
	at(reframe(1, one, []byte{9}), last+4, "an unknown item in the second block")
	for n, want := range []int{0, block, block + 4, last, last + 4} {
		at := int64(want)
		_, err := NewTable(Options{MaxEntries: 1, MaxFragments: 1}).Restore(&failing{ReadSeeker: bytes.NewReader(file), reads: n, seeks: 2}, 0, RestoreOptions{})
		var e *SnapshotError
		require.ErrorAs(t, err, &e)
		require.Equal(t, at, e.Offset, n)
	}
}
