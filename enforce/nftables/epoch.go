package nftables

import (
	"fmt"
	"slices"

	"example.com/secgroup/sg"
)

// epochSetName is the set of what the halves of a mark are whose connection
// the policy of today allowed. With sg.Keep there is none.
const epochSetName = "epoch"

// epochMark is what a mark becomes: mark & keep | set.
type epochMark struct{ keep, set uint32 }

// epochMarkNames names the halves and the directions in which they are
// written, in the order of epochMarks.
func epochMarkNames() [4]string { return [4]string{"src", "dst", "src_reply", "dst_reply"} }

// epochMarks are the marks that an epoch writes.
func epochMarks(epoch uint16) [4]epochMark {
	e := uint32(epoch)
	half := func(shift int, v uint32) epochMark { return epochMark{^(uint32(halfMask) << shift), v << shift} }
	return [4]epochMark{half(0, e), half(dstShift, e), half(0, e|replyBit), half(dstShift, e|replyBit)}
}

// currentMarks are the elements of the epoch's set: either half of a mark.
func currentMarks(epoch uint16) [2]uint32 { return [2]uint32{uint32(epoch), uint32(epoch) << dstShift} }

func epochSet(epoch uint16) set {
	var elements []string
	for _, m := range currentMarks(epoch) {
		elements = append(elements, fmt.Sprintf("0x%08x", m))
	}
	return set{name: epochSetName, decl: "type mark; size 4", comment: "halves of marks that the policy of today wrote", elements: slices.Values(elements)}
}

// epochNames are what the kernel calls the parts of the epoch.
func (l *layout) epochNames(n names) *epochNames {
	var out epochNames
	if l.prog.Established() != sg.Keep {
		out.set = n.of(epochSetName)
	}
	for i, name := range epochMarkNames() {
		out.chains[i] = n.of("mark_" + name)
	}
	return &out
}

// has reports whether a name is one of the epoch's.
func (e *epochNames) has(name string) bool {
	return name == e.set || slices.Contains(e.chains[:], name)
}

// epochEdit is a move from one epoch to the next.
type epochEdit struct {
	names    *epochNames
	from, to uint16
}

// nextEpoch is the epoch after e.
func nextEpoch(e uint16) uint16 { return e%maxEpoch + 1 }

// since is how many moves lead from epoch e to now, if it is not more than
// once around.
func since(e, now uint16) int { return (int(now) - int(e) + maxEpoch) % maxEpoch }

// laterEpoch is the one of two that the other led to.
func laterEpoch(a, b uint16) uint16 {
	switch {
	case a == 0:
		return b
	case b == 0 || since(b, a) < maxEpoch/2:
		return a
	}
	return b
}

// There are 32,767 epochs, then they begin again: a connection that sent
// nothing for so long would pass for one that was allowed just now. Before that
// can happen its mark is written anew. It says then that the connection was
// allowed once, and is to be judged again: nothing is lost by it.

// recent is how many epochs back a mark may be from.
const recent = maxEpoch / 2

// refresh makes sure that the next epoch can begin: that no mark speaks of it.
// now is the epoch in force, 0 if it is not known. It returns now, or what may
// count as such.
func (b *Backend) refresh(now uint16) (uint16, error) {
	if b.fresh > 0 && now != 0 {
		return now, nil
	}
	if now == 0 {
		used, err := b.kernel.epochsInUse()
		if err != nil {
			return 0, err
		}
		now = endOfUse(used)
	}
	// Not now: what is marked so is allowed.
	old := uint32(now - 1)
	if now == 1 {
		old = maxEpoch
	}
	_, err := b.kernel.remark(func(mark uint32) uint32 {
		for _, shift := range []int{0, dstShift} {
			if e := uint16(mark >> shift & epochMask); e != 0 && since(e, now) > recent {
				mark = mark&^(uint32(epochMask)<<shift) | old<<shift
			}
		}
		return mark
	})
	if err != nil {
		return 0, err
	}
	b.fresh = maxEpoch - recent - 1
	return now, nil
}

// endOfUse returns the epoch after which the most follow that are not used.
func endOfUse(used map[uint16]bool) uint16 {
	var list []uint16
	for e := range used {
		list = append(list, e)
	}
	if len(list) == 0 {
		return maxEpoch // the next is 1
	}
	slices.Sort(list)
	best, gap := uint16(0), -1
	for i, e := range list {
		n := since(e, list[(i+1)%len(list)])
		if len(list) == 1 {
			n = maxEpoch
		}
		if n > gap {
			best, gap = e, n
		}
	}
	return best
}

// epochInUse returns the epoch that a table has, 0 if it can not be told. What
// an Apply that was interrupted left has one too, of which the later is it.
func (b *Backend) epochInUse(in *installed) (epoch uint16, err error) {
	if b.now != nil {
		epoch = b.now.layout.epoch
	}
	for _, c := range in.chains {
		if untagged(c) != "mark_"+epochMarkNames()[0] {
			continue
		}
		m, ok, err := b.kernel.readMark(c)
		if err != nil {
			return 0, err
		}
		if e := uint16(m.set & epochMask); ok {
			epoch = laterEpoch(epoch, e)
		}
	}
	return epoch, nil
}
