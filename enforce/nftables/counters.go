package nftables

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce"
)

// Counters yields how many packets and bytes each rule decided: the packets
// that opened a connection, or tried to, and those that were refused or need no
// connection. Packets of established connections are not among them, and Flows
// is not told.
//
// They count since the Backend was made. For the rules of its first policy they
// go on from what the table of an earlier process holds, which is what that
// process counted since it last replaced the table. Rules that are no more keep
// their sums. A table whose base chains somebody changed is deleted to repair
// it, and with it what it counted since the counters were read last.
func (b *Backend) Counters(ctx context.Context) (iter.Seq2[ir.RuleRef, enforce.Counter], error) {
	var sums map[ir.RuleRef]count
	err := b.do("counters", func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		sums = maps.Clone(b.base)
		if b.now == nil {
			return nil
		}
		all, err := b.kernel.objects()
		if err != nil {
			return err
		}
		for _, o := range all {
			if ref, ok := b.now.ruleOf(o.name); ok {
				sums[ref] = sums[ref].plus(o.count)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func(yield func(ir.RuleRef, enforce.Counter) bool) {
		refs := slices.SortedFunc(maps.Keys(sums), func(x, y ir.RuleRef) int { return strings.Compare(x.String(), y.String()) })
		for _, ref := range refs {
			if c := sums[ref]; c != (count{}) && !yield(ref, enforce.Counter{Packets: c.packets, Bytes: c.bytes}) {
				return
			}
		}
	}, nil
}

// ruleOf is the rule of a counter that a state has in the kernel.
func (s *state) ruleOf(name string) (ref ir.RuleRef, ok bool) {
	digits, ok := strings.CutPrefix(untagged(name), counterPrefix)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || s.names.known(counterName(ir.RuleNum(n))) != name {
		return ir.RuleRef{}, false
	}
	rule, ok := s.layout.prog.Rule(ir.RuleNum(n))
	return rule.Ref, ok
}

// keepCounts adds what the counters count that are about to go, of which now
// are the last readings. Those of an earlier process are known by their
// comments, if the policy has such rules.
func (b *Backend) keepCounts(old, next *state, gone *installed, now []namedObject) {
	going := map[string]bool{}
	for _, o := range gone.objects {
		going[o.name] = true
	}
	byComment := map[string]ir.RuleRef{}
	if old == nil {
		for r := range next.layout.prog.Rules() {
			byComment[strings.Trim(quote(r.Ref.String()), `"`)] = r.Ref
		}
	}
	for _, o := range now {
		if !going[o.name] {
			continue
		}
		ref, ok := byComment[o.comment]
		if old != nil {
			ref, ok = old.ruleOf(o.name)
		}
		if ok {
			b.base[ref] = b.base[ref].plus(o.count)
		}
	}
}
