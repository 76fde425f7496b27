package conntrack

import (
	"math/bits"
	"runtime"
)

// Options configure a Table. The zero value is ready to use.
type Options struct {
	MaxEntries int // connections; default 1<<18 (as nf_conntrack_max of a large host), at most 1<<30
	MaxPerZone int // connections of one zone; default MaxEntries: a lower one keeps a noisy interface from starving others; see also SetZone
	Shards     int // rounded up to a power of two, at most 1024, and at least one per 2^22 entries; default 4*GOMAXPROCS

	Shares Shares // of MaxEntries, by class of protocol

	MaxFragments        int // fragmented datagrams remembered, 600 bytes each; default 4096, at most 1<<20
	MaxFragmentsPerZone int // those of one zone; default a quarter of MaxFragments, at least 1

	// TCPLoose lets a plain ACK start a connection, as one that lives longer
	// than the table needs (nf_conntrack_tcp_loose, which Linux turns on by
	// default; here it is off).
	//
	// Nobody knows the window scale of such a connection, so its sequence
	// numbers refuse nothing, as with TCPLiberal.
	TCPLoose bool

	// TCPLiberal turns off what TCP sequence numbers and windows refuse
	// (nf_conntrack_tcp_be_liberal): for asymmetric routing, where the table
	// sees one direction only or not all segments. What the flags say, and a
	// RST below what its receiver has acknowledged, is refused all the same.
	// Segmentation offload does not need it: a super-packet has the right
	// number and the right length.
	TCPLiberal bool

	Timeouts Timeouts

	// OnPressure, if set, is called when a bound of the table fills up and when
	// it has room again: see Pressure. It runs on the goroutine that made the
	// difference, often the packet path, with a lock held: it must not block
	// and must not call the table.
	OnPressure func(Pressure)

	// OnEnd, if set, is called once for every entry that leaves the table,
	// with the entry as it was last and the reason. It runs on the goroutine
	// that removed the entry, often the packet path, with a lock held: it must
	// not block, must not call the table, and must not keep its argument.
	OnEnd func(*Entry, End)
}

// Limits of Options.
const (
	defaultEntries   = 1 << 18
	maxEntries       = 1 << 30
	maxShards        = 1 << maxShardBits
	maxShardBits     = 10
	defaultFragments = 4096
	maxFragments     = 1 << 20
)

// withDefaults returns o with its zero fields filled in and the others within
// their limits.
func (o Options) withDefaults() Options {
	if o.MaxEntries <= 0 {
		o.MaxEntries = defaultEntries
	}
	o.MaxEntries = min(o.MaxEntries, maxEntries)
	if o.MaxPerZone <= 0 || o.MaxPerZone > o.MaxEntries {
		o.MaxPerZone = o.MaxEntries
	}
	if o.Shards <= 0 {
		o.Shards = 4 * runtime.GOMAXPROCS(0)
	}
	o.Shards = powerOfTwo(min(max(o.Shards, o.MaxEntries>>22), maxShards))
	o.Shares = o.Shares.withDefaults()
	if o.MaxFragments <= 0 {
		o.MaxFragments = defaultFragments
	}
	o.MaxFragments = min(o.MaxFragments, maxFragments)
	if o.MaxFragmentsPerZone <= 0 {
		o.MaxFragmentsPerZone = max(1, o.MaxFragments/4)
	}
	o.MaxFragmentsPerZone = min(o.MaxFragmentsPerZone, o.MaxFragments)
	o.Timeouts = o.Timeouts.withDefaults()
	return o
}

// powerOfTwo returns the smallest power of two that is not less than n.
func powerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }
