package conntrack

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/conntrack/packet"
)

// saved returns the snapshot of a table.
func saved(t testing.TB, tb *Table, now Time, o SnapshotOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := tb.Snapshot(&b, now, o)
	require.NoError(t, err)
	require.LessOrEqual(t, n, tb.Len())
	return b.Bytes()
}

// recordsOf returns the connections of a snapshot, as they stand in it, in an
// order that does not hang on the table.
func recordsOf(file []byte) (list []string, err error) {
	err = readSnapshot(bytes.NewReader(file), func(z Zone, name []byte, r *record) {
		list = append(list, string(appendZone(nil, z, string(name)))+string(r.append(nil)))
	})
	slices.Sort(list)
	return list, err
}

// reframe returns a snapshot with these blocks of items and the right digests.
func reframe(count uint64, blocks ...[]byte) []byte {
	var b bytes.Buffer
	f := newBlockWriter(&b)
	for _, items := range blocks {
		f.items = append(f.items, items...)
		_ = f.flush()
	}
	f.count = count
	_ = f.end()
	return b.Bytes()
}

// restart gives the harness another process: a table and a clock of its own,
// with what a snapshot of the old one holds. The model goes on as it is.
func (h *harness) restart() {
	rt, m := h.rt, h.m
	var file, again bytes.Buffer
	n, err := h.t.Snapshot(&file, h.now, SnapshotOptions{})
	if err != nil {
		rt.Fatal(err)
	}
	m.tick(h.now)
	for k, e := range m.m {
		if m.clock >= e.expires { // not worth saving
			delete(m.m, k)
		}
	}
	m.inserted, m.ended, h.held, h.stats = len(m.m), 0, nil, Stats{}

	h.now += Time(rapid.SampledFrom([]time.Duration{0, 3 * time.Second, -1000 * time.Hour, 1000 * time.Hour, 20 * 365 * 24 * time.Hour}).Draw(rt, "clock"))
	m.shift = m.clock - h.now
	h.t = NewTable(Options{
		MaxEntries: m.max, MaxPerZone: m.zone, Shards: len(h.t.shards), Shares: m.shares,
		TCPLoose: m.loose, TCPLiberal: m.liberal, OnEnd: h.onEnd,
	})
	got, err := h.t.Restore(bytes.NewReader(file.Bytes()), h.now, RestoreOptions{})
	if want := (Restored{Connections: len(m.m)}); err != nil || got != want || n != len(m.m) {
		rt.Fatalf("%d saved, restored %+v, %v; want %d", n, got, err, len(m.m))
	}
	if s := h.t.Stats(); s != (Stats{Insert: uint64(n), Restored: uint64(n)}) {
		rt.Fatalf("%+v", s)
	}
	if _, err := h.t.Snapshot(&again, h.now, SnapshotOptions{}); err != nil {
		rt.Fatal(err)
	}
	before, err1 := recordsOf(file.Bytes())
	after, err2 := recordsOf(again.Bytes())
	if err1 != nil || err2 != nil || !slices.Equal(before, after) {
		rt.Fatalf("%d saved, %v; %d again, %v", len(before), err1, len(after), err2)
	}
}

// jump lets the clock jump by years.
func (h *harness) jump() {
	years := Time(rapid.SampledFrom([]int{2, 10}).Draw(h.rt, "years")) * Time(year)
	if h.back && rapid.Bool().Draw(h.rt, "back") {
		years = -years
	}
	h.now += years
}

func propertyRestart(rt *rapid.T) {
	h := newHarness(rt)
	action := func(f func()) func(*rapid.T) {
		return func(t *rapid.T) { h.rt = t; f() }
	}
	rt.Repeat(map[string]func(*rapid.T){
		"track": action(h.track), "track2": action(h.track), "commit": action(h.commit), "flow": action(h.flow), "flow2": action(h.flow),
		"remark": action(h.remark), "delete": action(h.delete), "update": action(h.update), "sweep": action(h.sweep), "time": action(h.time),
		"restart": action(h.restart), "jump": action(h.jump),
		"": h.check,
	})
	audit(rt, h.t)
}

// TestRestart compares a table that is replaced by another one, restored from
// its snapshot, with a model that never restarts: all packets get the same.
func TestRestart(t *testing.T) {
	for range 4 { // of a short run's 20 cases or a long one's 100
		rapid.Check(t, propertyRestart)
	}
}

// FuzzRestart is TestRestart, driven by the fuzzer's bytes.
func FuzzRestart(f *testing.F) { f.Fuzz(rapid.MakeFuzz(propertyRestart)) }

// mixed returns a table with connections of many kinds in several zones: open,
// closed, half-open, held, picked up in the middle, with large counters.
func mixed(now Time) *Table {
	tb := NewTable(Options{MaxEntries: 1024, Shards: 2, TCPLoose: true})
	g := &gate{Table: tb, now: now}
	for z := range Zone(3) {
		g.zone, g.said = z, nil
		g.out(udp(inside+":1000", outside+":53"))
		g.in(udp(outside+":53", inside+":1000"))
		g.out(icmp(inside, outside, icmpEcho, 7))
		g.out(&packet.Packet{Tuple: tuple(47, inside, outside), Length: 99, L4: 20})
		g.out(tcp(inside+":1001", outside+":443", "S"))
		g.out(tcp(inside+":1002", outside+":443", "S"))
		g.in(tcp(outside+":443", inside+":1002", "SA"))
		g.out(tcp(inside+":1002", outside+":443", "A"))
		g.in(tcp(outside+":443", inside+":1002", "FA"))
		g.out(tcp(inside+":1003", outside+":443", "S"))
		g.in(tcp(outside+":443", inside+":1003", "RA"))
		g.out(tcp(inside+":1004", outside+":443", "A"))
		g.out(seg(inside+":1005", outside+":443", "S", 100, 0, 0, 1000))
		g.in(seg(outside+":443", inside+":1005", "SA", 500, 101, 0, 1000))
		g.out(seg(inside+":1005", outside+":443", "A", 101, 501, 0, 1000))
		g.now += second
		g.out(seg(inside+":1005", outside+":443", "S", 9000, 0, 0, 1000)) // let through, changes nothing
		g.in(udp("[2001:db8::1]:5", "[2001:db8::2]:6"))
		big := udp(inside+":9", outside+":9")
		big.Length = math.MaxUint32
		g.out(big)
		g.out(big)
	}
	return tb
}

func TestSnapshotRoundTrip(t *testing.T) {
	now := 5000 * second
	tb := mixed(now)
	now += 4 * second
	file := saved(t, tb, now, SnapshotOptions{})
	list, err := recordsOf(file)
	require.NoError(t, err)
	require.Len(t, list, tb.Len())
	require.Greater(t, tb.Len(), 20)

	to := NewTable(Options{MaxEntries: 1024, Shards: 8})
	const there = -77 * second // a clock with another zero
	got, err := to.Restore(bytes.NewReader(file), there, RestoreOptions{})
	require.NoError(t, err)
	require.Equal(t, Restored{Connections: tb.Len()}, got)
	require.Equal(t, Stats{Insert: uint64(tb.Len()), Restored: uint64(tb.Len())}, to.Stats())
	again, err := recordsOf(saved(t, to, there, SnapshotOptions{}))
	require.NoError(t, err)
	require.Equal(t, list, again)

	// What is listed is the same too, but for the clock.
	of := func(tb *Table, now Time) (list []Entry) {
		for e := range tb.All(now) {
			e.Created, e.LastSeen, e.Expires = e.Created-now, e.LastSeen-now, e.Expires-now
			list = append(list, e)
		}
		slices.SortFunc(list, func(a, b Entry) int {
			return cmp.Or(cmp.Compare(a.Zone, b.Zone), strings.Compare(a.Orig.String(), b.Orig.String()))
		})
		return list
	}
	require.Equal(t, of(tb, now), of(to, there))

	// Once more: they are there already, and stay as they are.
	got, err = to.Restore(bytes.NewReader(file), there, RestoreOptions{})
	require.NoError(t, err)
	require.Equal(t, Restored{Present: tb.Len()}, got)
	require.Equal(t, of(tb, now), of(to, there))

	// They can be removed, and leave nothing behind.
	for z := range Zone(3) {
		to.Flush(there, z)
	}
	require.Zero(t, to.Len())
	require.Zero(t, to.Stats().Found)
}

func TestSnapshotEmpty(t *testing.T) {
	file := saved(t, NewTable(Options{}), 0, SnapshotOptions{})
	require.Len(t, file, snapshotHeader+4+8+sha256.Size)
	got, err := NewTable(Options{}).Restore(bytes.NewReader(file), 0, RestoreOptions{})
	require.NoError(t, err)
	require.Zero(t, got)
}

// Zones are found again by name, marks are the new process's.
func TestSnapshotZones(t *testing.T) {
	tb := mixed(0)
	each := tb.Len() / 3
	names := map[Zone]string{0: "first", 2: strings.Repeat("long", maxZoneName/4)}
	file := saved(t, tb, 3*second, SnapshotOptions{Name: func(z Zone) (string, bool) { n, ok := names[z]; return n, ok }})
	to := NewTable(Options{})
	got, err := to.Restore(bytes.NewReader(file), 0, RestoreOptions{
		Zone: func(z Zone, name []byte) (Zone, bool) {
			require.Equal(t, names[z], string(name))
			return 700, z == 2
		},
		Mark: func(m Mark, epoch uint32) (Mark, uint32) { return m + 10, epoch + 20 },
	})
	require.NoError(t, err)
	require.Equal(t, Restored{Connections: each, Unwanted: each}, got)
	for e := range to.All(0) {
		require.Equal(t, []any{Zone(700), Mark(11), uint32(21)}, []any{e.Zone, e.Mark, e.Epoch})
	}
	_, err = tb.Snapshot(io.Discard, 0, SnapshotOptions{Name: func(Zone) (string, bool) { return strings.Repeat("x", maxZoneName+1), true }})
	require.ErrorContains(t, err, "4097 bytes")
}

// Blocks are cut so that each names its zones, also where there are many.
func TestSnapshotManyZones(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 4096})
	for z := range Zone(2000) {
		_, err := tb.Commit(0, z, Local, udp(inside+":1", outside+":2"), 1, 1)
		require.NoError(t, err)
	}
	name := func(z Zone) (string, bool) { return strings.Repeat(string(rune('a'+z%26)), 300), true }
	file := saved(t, tb, 0, SnapshotOptions{Name: name})
	list, err := recordsOf(file)
	require.NoError(t, err)
	require.Len(t, list, 2000)
	to := NewTable(Options{MaxEntries: 4096})
	got, err := to.Restore(bytes.NewReader(file), 0, RestoreOptions{Zone: func(z Zone, n []byte) (Zone, bool) {
		want, _ := name(z)
		return z, want == string(n)
	}})
	require.NoError(t, err)
	require.Equal(t, Restored{Connections: 2000}, got)
}

// The restored table's limits hold, and nothing goes for what is restored.
func TestRestoreLimits(t *testing.T) {
	tb := NewTable(Options{})
	for i := range 40 {
		p := udp(inside+":1", outside+":2")
		p.Tuple.SrcPort = uint16(i)
		_, err := tb.Commit(0, Zone(i%2), Local, p, 1, 1)
		require.NoError(t, err)
	}
	file := saved(t, tb, 0, SnapshotOptions{})
	for name, c := range map[string]struct {
		o    Options
		set  int
		want int
	}{
		"table":    {Options{MaxEntries: 30, Shares: Shares{100, 100, 100, 100}}, 0, 29},
		"class":    {Options{MaxEntries: 30, Shares: Shares{UDP: 10}}, 0, 3},
		"zone":     {Options{MaxEntries: 1000, MaxPerZone: 7}, 0, 14},
		"zone set": {Options{MaxEntries: 1000, MaxPerZone: 7}, 12, 19},
	} {
		to := NewTable(c.o)
		to.SetZone(1, ZoneOptions{MaxEntries: c.set})
		mine := &packet.Packet{Tuple: tuple(47, inside, outside), Length: 20}
		_, err := to.Commit(0, 5, Local, mine, 9, 9)
		require.NoError(t, err)
		got, err := to.Restore(bytes.NewReader(file), 0, RestoreOptions{})
		require.NoError(t, err)
		require.Equal(t, Restored{Connections: c.want, Full: 40 - c.want}, got, name)
		require.Equal(t, c.want+1, to.Len(), name)
		require.Equal(t, Mark(9), to.Track(0, 5, Local, mine).Mark, name)
	}
}

// What a table has is not replaced, not even a closed connection.
func TestRestoreKeepsWhatIsThere(t *testing.T) {
	old, now := newGate(), newGate()
	old.out(tcp(inside+":1", outside+":2", "S"))
	file := saved(t, old.Table, 0, SnapshotOptions{})
	now.out(tcp(inside+":1", outside+":2", "S"))
	now.in(tcp(outside+":2", inside+":1", "RA"))
	require.Equal(t, StatusClose, now.status())
	got, err := now.Restore(bytes.NewReader(file), 0, RestoreOptions{})
	require.NoError(t, err)
	require.Equal(t, Restored{Present: 1}, got)
	require.Equal(t, StatusClose, now.status())
	// Once expired it makes room.
	got, err = now.Restore(bytes.NewReader(file), 11*second, RestoreOptions{})
	require.NoError(t, err)
	require.Equal(t, Restored{Connections: 1}, got)
	now.now = 11 * second
	require.Equal(t, StatusSynSent, now.status())
}

func TestRestoreElapsed(t *testing.T) {
	tb := mixed(0)
	const at = 3 * second
	file := saved(t, tb, at, SnapshotOptions{})
	for _, elapsed := range []time.Duration{-time.Hour, 0, 9 * time.Second, 29 * time.Second, time.Minute, 200 * time.Second, 119 * time.Hour, 121 * time.Hour, math.MaxInt64} {
		to := NewTable(Options{Shards: 1})
		got, err := to.Restore(bytes.NewReader(file), 0, RestoreOptions{Elapsed: elapsed})
		require.NoError(t, err)
		live := 0
		for e := range tb.All(at) {
			if e.Expires-at > Time(max(elapsed, 0)) {
				live++
			}
		}
		require.Equal(t, Restored{Connections: live, Expired: tb.Len() - live}, got, elapsed)
		for e := range to.All(0) {
			require.Positive(t, e.Expires, elapsed)
			require.LessOrEqual(t, e.LastSeen, -Time(max(elapsed, 0)), elapsed)
			require.LessOrEqual(t, e.Created, e.LastSeen, elapsed)
		}
	}
}

// The idle times are those of the table restored to.
func TestRestoreOtherTimeouts(t *testing.T) {
	g := newGate()
	g.out(udp(inside+":1", outside+":2"))
	file := saved(t, g.Table, 10*second, SnapshotOptions{})
	to := NewTable(Options{Timeouts: Timeouts{UDP: 15 * time.Second}})
	_, err := to.Restore(bytes.NewReader(file), 0, RestoreOptions{})
	require.NoError(t, err)
	require.Zero(t, to.Sweep(4*second, 100))
	require.Equal(t, 1, to.Sweep(6*second, 100))
}

// failing is an io.ReadSeeker and an io.Writer that fails.
type failing struct {
	io.ReadSeeker
	reads, seeks, writes int
	second               []byte // what a second reading yields
}

var errDevice = errors.New("device")

func (f *failing) Read(b []byte) (int, error) {
	if f.reads--; f.reads < 0 {
		return 0, errDevice
	}
	return f.ReadSeeker.Read(b)
}

func (f *failing) Seek(n int64, whence int) (int64, error) {
	if f.seeks--; f.seeks < 0 {
		return 0, errDevice
	}
	if whence == io.SeekStart && f.second != nil {
		f.ReadSeeker = bytes.NewReader(f.second)
	}
	return f.ReadSeeker.Seek(n, whence)
}

func (f *failing) Write(b []byte) (int, error) {
	if f.writes--; f.writes < 0 {
		return 0, errDevice
	}
	return len(b), nil
}

func TestSnapshotDeviceErrors(t *testing.T) {
	tb := mixed(0)
	file := saved(t, tb, 3*second, SnapshotOptions{})
	for n := range 3 {
		_, err := tb.Snapshot(&failing{writes: n}, 3*second, SnapshotOptions{})
		require.ErrorIs(t, err, errDevice, n)
	}
	for n := range 6 {
		to := NewTable(Options{})
		_, err := to.Restore(&failing{ReadSeeker: bytes.NewReader(file), reads: n, seeks: 2}, 0, RestoreOptions{})
		require.ErrorIs(t, err, errDevice, n)
		require.Zero(t, to.Len())
	}
	for n := range 2 {
		_, err := NewTable(Options{}).Restore(&failing{ReadSeeker: bytes.NewReader(file), reads: 100, seeks: n}, 0, RestoreOptions{})
		require.ErrorIs(t, err, errDevice, n)
	}
	// It changes under our hands: no block with a wrong digest is taken.
	to := NewTable(Options{})
	changed := bytes.Clone(file)
	changed[len(changed)/2]++
	_, err := to.Restore(&failing{ReadSeeker: bytes.NewReader(file), reads: 100, seeks: 2, second: changed}, 0, RestoreOptions{})
	require.ErrorIs(t, err, ErrSnapshotDamaged)
	require.Zero(t, to.Len())
}

// It may stand in the middle of a file.
func TestRestoreFromTheMiddle(t *testing.T) {
	tb := mixed(0)
	r := bytes.NewReader(append([]byte("before"), saved(t, tb, 3*second, SnapshotOptions{})...))
	_, err := r.Seek(6, io.SeekStart)
	require.NoError(t, err)
	got, err := NewTable(Options{}).Restore(r, 0, RestoreOptions{})
	require.NoError(t, err)
	require.Equal(t, tb.Len(), got.Connections)
}

// refuses asserts that a file is refused whole.
func refuses(t *testing.T, file []byte, want error, what string) {
	t.Helper()
	to := NewTable(Options{MaxEntries: 64, Shards: 1, MaxFragments: 1})
	got, err := to.Restore(bytes.NewReader(file), 0, RestoreOptions{})
	var e *SnapshotError
	if !errors.Is(err, want) || !errors.As(err, &e) || got != (Restored{}) || to.Len() != 0 {
		t.Fatalf("%s: %+v, %v, %d entries", what, got, err, to.Len())
	}
	if e.Offset < 0 || e.Offset > int64(len(file)) || !strings.Contains(err.Error(), e.What) {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	g := newGate()
	g.out(tcp(inside+":1001", outside+":443", "S"))
	g.out(udp(inside+":1000", outside+":53"))
	file := saved(t, g.Table, 0, SnapshotOptions{})
	for i := range file {
		refuses(t, file[:i], ErrSnapshotDamaged, "truncated")
		for bit := range 8 {
			bad := bytes.Clone(file)
			bad[i] ^= 1 << bit
			want := ErrSnapshotDamaged
			if i == 8 || i == 9 {
				want = ErrSnapshotVersion
			}
			refuses(t, bad, want, "flipped")
		}
	}
	refuses(t, append(bytes.Clone(file), 0), ErrSnapshotDamaged, "extended")
	refuses(t, append(bytes.Clone(file), file...), ErrSnapshotDamaged, "twice")
}

// Files with the right digests that no table has written.
func TestRestoreRefusesLies(t *testing.T) {
	g := newGate()
	g.out(tcp(inside+":1001", outside+":443", "S"))
	g.out(udp(inside+":1000", outside+":53"))
	g.out(icmp(inside, outside, icmpEcho, 7))
	var tcp, udp, icmp record
	require.NoError(t, readSnapshot(bytes.NewReader(saved(t, g.Table, 0, SnapshotOptions{})), func(_ Zone, _ []byte, r *record) {
		*map[uint8]*record{6: &tcp, 17: &udp, 1: &icmp}[r.key.proto] = *r
	}))
	zone := appendZone(nil, 0, "")
	one := func(r record) []byte { return r.append(bytes.Clone(zone)) }
	list, err := recordsOf(reframe(3, one(tcp), one(udp), one(icmp)))
	require.NoError(t, err, "what is changed below is whole")
	require.Len(t, list, 3)

	refuses(t, reframe(2, one(udp)), ErrSnapshotDamaged, "too few connections")
	refuses(t, reframe(0, one(udp)), ErrSnapshotDamaged, "too many connections")
	refuses(t, reframe(1, udp.append(nil)), ErrSnapshotDamaged, "without a zone")
	refuses(t, reframe(2, one(udp), udp.append(nil)), ErrSnapshotDamaged, "the zone is in another block")
	refuses(t, reframe(1, append(one(udp), itemZone, 0)), ErrSnapshotDamaged, "half a zone")
	refuses(t, reframe(1, append(one(udp), 9)), ErrSnapshotDamaged, "an unknown item")
	refuses(t, reframe(1, one(udp)[:50]), ErrSnapshotDamaged, "half a connection")
	for count := range uint64(4) { // as if a connection were its first byte
		for _, kind := range []uint8{itemPlain, itemTCP} {
			for _, rest := range [][]byte{nil, zone, udp.append(nil), append(udp.append(nil), zone...)} {
				refuses(t, reframe(count, slices.Concat(zone, []byte{kind}, rest)), ErrSnapshotDamaged, "a byte of a connection")
			}
		}
		refuses(t, reframe(count, slices.Concat(zone, zone[:1], udp.append(nil))), ErrSnapshotDamaged, "a byte of a zone")
	}
	refuses(t, reframe(1, append(appendZone(nil, 0, strings.Repeat("x", maxZoneName+1)), one(udp)...)), ErrSnapshotDamaged, "a long name")
	short := appendZone(nil, 0, "name")
	binary.BigEndian.PutUint16(short[5:], 500)
	refuses(t, reframe(1, short), ErrSnapshotDamaged, "a name longer than the block")

	for name, f := range map[string]func(r *record){
		"status":   func(r *record) { r.status = statusEnd },
		"status 0": func(r *record) { r.status = 0 },
		"other's": func(r *record) {
			r.status = map[bool]Status{true: StatusUnreplied, false: StatusSynSent}[r.key.proto == 6]
		},
		"family":        func(r *record) { r.key.family = 5 },
		"idle":          func(r *record) { r.idle = r.age + 1 },
		"years idle":    func(r *record) { r.idle, r.age = maxTicks+1, maxTicks+1 },
		"age":           func(r *record) { r.age = maxAge + 1 },
		"left":          func(r *record) { r.left = maxTicks + 1 },
		"no packet":     func(r *record) { r.packets[Original] = 0 },
		"ICMP type":     func(r *record) { r.key.proto, r.key.query = 1, icmpEchoReply<<1 },
		"flags":         func(r *record) { r.flags |= 0x80; r.tcp.opts[0] |= optChallenge },
		"last segment":  func(r *record) { r.tcp.lastSeg = segRst + 1; r.flags |= flagSeenReply },
		"last dir":      func(r *record) { r.tcp.lastDir = 2; r.flags |= flagAssured },
		"SYN_SENT":      func(r *record) { r.tcp.of[Reply].end = 1; r.flags |= flagCrossed },
		"not SYN_SENT":  func(r *record) { r.status, r.tcp.synData = StatusClose, 1 },
		"not SYN_SENT2": func(r *record) { r.status, r.tcp.lastAck = StatusTimeWait, 1 },
	} {
		for _, r := range []record{tcp, udp, icmp} {
			f(&r)
			refuses(t, reframe(1, one(r)), ErrSnapshotDamaged, name)
		}
	}
	kind := func(r record, kind uint8) []byte {
		b := append(one(r), make([]byte, tcpRecord)...)
		b[zoneItem] = kind
		return b[:zoneItem+map[uint8]int{itemPlain: plainRecord, itemTCP: tcpRecord}[kind]]
	}
	refuses(t, reframe(1, kind(tcp, itemPlain)), ErrSnapshotDamaged, "TCP without windows")
	refuses(t, reframe(1, kind(udp, itemTCP)), ErrSnapshotDamaged, "UDP with windows")
	for _, at := range []int{5, 6} { // type and code of what is no ICMP
		b := one(udp)
		b[zoneItem+at] = 8
		refuses(t, reframe(1, b), ErrSnapshotDamaged, "ICMP in UDP")
	}
	r := udp
	r.left = 1
	refuses(t, reframe(1, one(r)), ErrSnapshotDamaged, "held, but not of TCP")
}

// counting counts what is read of it.
type counting struct {
	*bytes.Reader
	n int
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += n
	return n, err
}

// Nothing is read, or kept room for, because a header claims it.
func TestRestoreClaims(t *testing.T) {
	file := reframe(0)
	head := bytes.Clone(file[:snapshotHeader])
	for _, claim := range []uint32{maxBlock + 1, 1 << 24, math.MaxUint32} {
		bad := append(binary.BigEndian.AppendUint32(bytes.Clone(head), claim), make([]byte, 1<<20)...)
		refuses(t, bad, ErrSnapshotDamaged, "claim")
		r := &counting{Reader: bytes.NewReader(bad)}
		_, err := NewTable(Options{MaxEntries: 1}).Restore(r, 0, RestoreOptions{})
		require.ErrorIs(t, err, ErrSnapshotDamaged)
		require.Equal(t, snapshotHeader+4, r.n)
	}
	binary.BigEndian.PutUint16(head[8:], snapshotVersion+1)
	refuses(t, head, ErrSnapshotVersion, "from the future")
}

// A deadline that a SYN in mid-connection left standing is kept, but no longer
// than the idle times of the table restored to.
func TestRestoreHeldDeadline(t *testing.T) {
	g := newGate()
	g.out(seg(here, there, "S", 100, 0, 0, 1000))
	g.in(seg(there, here, "SA", 500, 101, 0, 1000))
	g.out(seg(here, there, "A", 101, 501, 0, 1000))
	g.now = 3600 * second
	g.out(seg(here, there, "S", 9000, 0, 0, 1000)) // let through; the idle time goes on
	file := saved(t, g.Table, g.now, SnapshotOptions{})
	left := 5*24*time.Hour - time.Hour
	for name, c := range map[string]struct {
		o    Timeouts
		want time.Duration
	}{
		"same":    {Timeouts{}, left},
		"longer":  {Timeouts{TCPEstablished: year}, left},
		"shorter": {Timeouts{TCPEstablished: time.Hour}, time.Hour},
	} {
		to := NewTable(Options{Timeouts: c.o})
		_, err := to.Restore(bytes.NewReader(file), 0, RestoreOptions{})
		require.NoError(t, err)
		for e := range to.All(0) {
			require.Equal(t, Time(c.want), e.Expires, name)
		}
		require.Equal(t, 1, to.Len())
	}
	got, err := NewTable(Options{}).Restore(bytes.NewReader(file), 0, RestoreOptions{Elapsed: left})
	require.NoError(t, err)
	require.Equal(t, Restored{Expired: 1}, got)
	got, err = NewTable(Options{}).Restore(bytes.NewReader(file), 0, RestoreOptions{Elapsed: left - time.Duration(tick)})
	require.NoError(t, err)
	require.Equal(t, Restored{Connections: 1}, got)

	// The options of the zone hold for them, too.
	to := NewTable(Options{})
	to.SetZone(0, ZoneOptions{Liberal: true})
	_, err = to.Restore(bytes.NewReader(file), 0, RestoreOptions{})
	require.NoError(t, err)
	far := seg(there, here, "A", 1<<30, 101, 0, 1000)
	require.Equal(t, Invalid, g.Track(g.now, 0, Remote, far).State)
	require.Equal(t, Established, to.Track(0, 0, Remote, far).State)
}
