package nftables

import (
	"net/netip"
	"strings"

	"example.com/secgroup/sg"
)

// installed is what the kernel has under the table's name.
type installed struct {
	exists, ours bool
	dormant      bool
	bases        map[string]baseChain
	chains       []string      // those that are no base chains
	sets         []namedSet    // anonymous ones left out
	objects      []namedObject // counters and the like
	flowtables   []string
}

// baseChain is where a chain is entered.
type baseChain struct {
	typ, hook string
	priority  int32
	accept    bool
}

type namedSet struct {
	name     string
	verdicts bool
}

type namedObject struct {
	name, comment string
	typ           uint32
	count         count
}

// names yields every name that is taken.
func (in *installed) names(yield func(string) bool) {
	for _, c := range in.chains {
		if !yield(c) {
			return
		}
	}
	for _, s := range in.sets {
		if !yield(s.name) {
			return
		}
	}
	for _, o := range in.objects {
		if !yield(o.name) {
			return
		}
	}
}

// count is what a named counter counts.
type count struct{ packets, bytes uint64 }

func (c count) plus(d count) count { return count{c.packets + d.packets, c.bytes + d.bytes} }

// setEdit is a change of a set of members.
type setEdit struct {
	name        string
	family      sg.Family
	add, remove []netip.Addr
}

// dispatchEdit is a change of a set of dispatches, or of the like.
type dispatchEdit struct {
	name        string
	interval    bool
	add, remove []string // as the renderer writes them
}

// fingerprint is what the table looks like, chain by chain and set by set.
// What sets of members hold, and what an epoch changes, is left out: what they
// must be is known. Anonymous sets are part of the rules that they are in.
type fingerprint map[string][32]byte

// isMemberSet reports whether a set holds members of a group or an IP set.
func isMemberSet(name string) bool {
	return strings.HasPrefix(name, "set")
}

// epochNames is what an epoch consists of, as the kernel calls it.
type epochNames struct {
	set    string    // of the current marks; "" with sg.Keep
	chains [4]string // in the order of epochMarks
}

// moment is a point in what was heard of changes.
type moment struct {
	count, losses int
	hears         bool
}
