package compile

import (
	"example.com/secgroup/compile/internal/ranges"
	"example.com/secgroup/compile/internal/services"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// MatchBatch is Match for each of flows, into out, and returns for how many:
// the length of the shorter of the two. It pays where the addresses that rules
// name are more than fit in the cache: what many flows need of memory is asked
// for at once. Batches of 16 to 64 gain the most.
func (m *Matcher) MatchBatch(index uint32, d sg.Direction, flows []ir.Flow, out []ir.Verdict) int {
	n := min(len(flows), len(out))
	c := m.Chain(index, d)
	for i := 0; i < n; i += ranges.BatchMax {
		c.flowsBatch(flows[i:min(n, i+ranges.BatchMax)], out[i:])
	}
	return n
}

// MatchWords is [Matcher.MatchBatch] for flows in words. See Wide.
func (c *Chain) MatchWords(flows []Words, out []ir.Verdict) int {
	n := min(len(flows), len(out))
	for i := 0; i < n; i += ranges.BatchMax {
		c.wordsBatch(flows[i:min(n, i+ranges.BatchMax)], out[i:])
	}
	return n
}

// batch is flows that are matched together: BatchMax or fewer.
type batch [2]lane

// lane is what a batch has of one family.
type lane struct {
	n      int
	flow   [ranges.BatchMax]uint8 // whose it is
	key    [ranges.BatchMax]uint32
	any    [ranges.BatchMax]services.Hit
	peer   [ranges.BatchMax]services.Hit
	high   [ranges.BatchMax]uint64
	low    [ranges.BatchMax]uint64
	values [ranges.BatchMax]ranges.Value
}

func (c *Chain) flowsBatch(flows []ir.Flow, out []ir.Verdict) {
	if c.index == nil {
		c.refuse(out[:len(flows)])
		return
	}
	var b batch
	for i := range flows {
		f := &flows[i]
		var l *lane
		switch {
		case f.Remote.Is4():
			l = &b[0]
			l.high[l.n%ranges.BatchMax] = number(f.Remote)
		case f.Remote.IsValid():
			l = &b[1]
			l.high[l.n%ranges.BatchMax], l.low[l.n%ranges.BatchMax] = halves(f.Remote)
		default:
			out[i] = c.index.Fallback()
			continue
		}
		l.flow[l.n%ranges.BatchMax], l.key[l.n%ranges.BatchMax] = uint8(i), services.Key(f)
		l.n++
	}
	c.decide(&b, out)
}

func (c *Chain) wordsBatch(flows []Words, out []ir.Verdict) {
	if c.index == nil {
		c.refuse(out[:len(flows)])
		return
	}
	var b batch
	for i := range flows {
		w := &flows[i]
		l, high, low := &b[1], w.High, w.Low
		if w.Family == sg.IPv4 {
			l, high = &b[0], w.Low
		}
		k := l.n % ranges.BatchMax
		l.flow[k], l.key[k], l.high[k], l.low[k] = uint8(i), services.PortKey(w.Protocol, w.Port), high, low
		l.n++
	}
	c.decide(&b, out)
}

// refuse says of flows that their interface is not known.
func (c *Chain) refuse(out []ir.Verdict) {
	for i := range out {
		out[i] = nobody()
	}
}

// decide matches the flows of b.
func (c *Chain) decide(b *batch, out []ir.Verdict) {
	for family := range b {
		l := &b[family]
		if l.n == 0 {
			continue
		}
		n := c.ask(l, family, out)
		switch {
		case n == 0:
			continue
		case family == 0:
			c.at[0].FindAll(l.high[:n], l.values[:n])
		default:
			c.at[1].FindAll2(l.high[:n], l.low[:n], l.values[:n])
		}
		c.index.Peers(family, l.values[:n], l.key[:n], c.classes[family], l.peer[:n])
		for k, peer := range l.peer[:n] {
			out[l.flow[k]] = c.index.Verdict(l.any[k], peer)
		}
	}
}

// ask asks the rules for any peer about the flows of l. Those that it leaves
// open it moves to the front, and returns how many they are.
func (c *Chain) ask(l *lane, family int, out []ir.Verdict) (n int) {
	for k, key := range l.key[:l.n] {
		any := c.index.Any(family, key)
		if c.at[family] == nil || c.index.Decides(any) {
			out[l.flow[k]] = c.index.Verdict(any, 0)
			continue
		}
		l.flow[n], l.key[n], l.high[n], l.low[n], l.any[n] = l.flow[k], key, l.high[k], l.low[k], any
		n++
	}
	return n
}
