package conntrack

import (
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOptionsLimits: what a field is if it is zero, negative, too small or too
// large, as its comment says.
func TestOptionsLimits(t *testing.T) {
	procs := runtime.GOMAXPROCS(0)
	shards := 1
	for shards < 4*procs {
		shards *= 2
	}
	usual := Options{MaxEntries: 262144, MaxPerZone: 262144, Shards: min(shards, 1024), MaxFragments: 4096, MaxFragmentsPerZone: 1024}
	for _, c := range []struct {
		name string
		set  Options
		want func(o *Options)
	}{
		{"zero", Options{}, func(*Options) {}},
		{"negative", Options{MaxEntries: -1, MaxPerZone: -1, Shards: -1, MaxFragments: -1, MaxFragmentsPerZone: -1}, func(*Options) {}},
		{"least", Options{MaxEntries: 1, MaxPerZone: 1, Shards: 1, MaxFragments: 1, MaxFragmentsPerZone: 1}, func(o *Options) {
			o.MaxEntries, o.MaxPerZone, o.Shards, o.MaxFragments, o.MaxFragmentsPerZone = 1, 1, 1, 1, 1
		}},
		{"a quarter of one", Options{MaxFragments: 1}, func(o *Options) { o.MaxFragments, o.MaxFragmentsPerZone = 1, 1 }},
		{"a quarter of ten", Options{MaxFragments: 10}, func(o *Options) { o.MaxFragments, o.MaxFragmentsPerZone = 10, 2 }},
		{"zone as table", Options{MaxEntries: 1000}, func(o *Options) { o.MaxEntries, o.MaxPerZone = 1000, 1000 }},
		{"zone below table", Options{MaxEntries: 1000, MaxPerZone: 999}, func(o *Options) { o.MaxEntries, o.MaxPerZone = 1000, 999 }},
		{"zone above table", Options{MaxEntries: 1000, MaxPerZone: 1001}, func(o *Options) { o.MaxEntries, o.MaxPerZone = 1000, 1000 }},
		{"largest", Options{MaxEntries: math.MaxInt, Shards: math.MaxInt, MaxFragments: math.MaxInt, MaxFragmentsPerZone: math.MaxInt}, func(o *Options) {
			o.MaxEntries, o.MaxPerZone, o.Shards, o.MaxFragments, o.MaxFragmentsPerZone = 1<<30, 1<<30, 1024, 1<<20, 1<<20
		}},
		{"two shards", Options{Shards: 2}, func(o *Options) { o.Shards = 2 }},
		{"shards rounded up", Options{Shards: 5}, func(o *Options) { o.Shards = 8 }},
		{"shards of many entries", Options{MaxEntries: 1 << 28, Shards: 1}, func(o *Options) { o.MaxEntries, o.MaxPerZone, o.Shards = 1<<28, 1<<28, 64 }},
	} {
		want := usual
		c.want(&want)
		want.Shares = Shares{TCP: 90, UDP: 50, ICMP: 10, Other: 25}
		want.Timeouts = Timeouts{}.withDefaults()
		require.Equal(t, want, c.set.withDefaults(), c.name)
	}
	require.Equal(t, Shares{TCP: 1, UDP: 100, ICMP: 100, Other: 25}, Shares{TCP: 1, UDP: 100, ICMP: 101, Other: -1}.withDefaults())
	require.Equal(t, procs, runtime.GOMAXPROCS(0), "the process is as it was")
}

// TestTimeoutDefaults: Linux's, each by its sysctl.
func TestTimeoutDefaults(t *testing.T) {
	linux := Timeouts{
		TCPSynSent: 2 * time.Minute, TCPSynRecv: time.Minute, TCPEstablished: 432_000 * time.Second, TCPFinWait: 2 * time.Minute,
		TCPCloseWait: time.Minute, TCPLastAck: 30 * time.Second, TCPTimeWait: 2 * time.Minute, TCPClose: 10 * time.Second,
		TCPUnacked: 5 * time.Minute, UDP: 30 * time.Second, UDPStream: 2 * time.Minute, ICMP: 30 * time.Second,
		Generic: 10 * time.Minute, Fragment: 30 * time.Second,
	}
	require.Equal(t, linux, Timeouts{}.withDefaults())
	least := Timeouts{
		TCPSynSent: 1, TCPSynRecv: 1, TCPEstablished: 1, TCPFinWait: 1, TCPCloseWait: 1, TCPLastAck: 1, TCPTimeWait: 1,
		TCPClose: 1, TCPUnacked: 1, UDP: 1, UDPStream: 1, ICMP: 1, Generic: 1, Fragment: 1,
	}
	require.Equal(t, least, least.withDefaults())
}

// TestShareOfEntries: a share is rounded up, so no class goes without.
func TestShareOfEntries(t *testing.T) {
	s := Shares{TCP: 90, UDP: 50, ICMP: 10, Other: 1}
	for _, c := range []struct {
		class         Class
		entries, want int
	}{
		{ClassTCP, 1, 1}, {ClassTCP, 10, 9}, {ClassTCP, 11, 10}, {ClassUDP, 3, 2}, {ClassUDP, 4, 2},
		{ClassICMP, 10, 1}, {ClassICMP, 11, 2}, {ClassOther, 100, 1}, {ClassOther, 101, 2}, {ClassOther, 1, 1},
	} {
		require.Equal(t, c.want, s.of(c.class, c.entries), "%v of %d", c.class, c.entries)
	}
}
