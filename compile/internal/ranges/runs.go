package ranges

// Run is the numbers from Start to the next run.
type Run struct {
	Start uint64
	Value Value
}

// AppendRun appends a run to a list whose runs differ from their neighbours,
// in order of start: a second run of the same start replaces the first.
func AppendRun(list []Run, start uint64, v Value) []Run {
	if k := len(list); k > 0 && list[k-1].Start == start {
		list = list[:k-1]
	}
	if k := len(list); k > 0 && list[k-1].Value == v {
		return list
	}
	return append(list, Run{start, v})
}

// splice returns list, which ends at hi, with runs from first to last.
func splice(list []Run, first, last, hi uint64, runs []Run) []Run {
	out := make([]Run, 0, len(list)+len(runs)+1)
	i := 0
	for ; i < len(list) && list[i].Start < first; i++ {
		out = append(out, list[i])
	}
	out = AppendRun(out, first, runs[0].Value)
	for _, r := range runs[1:] {
		out = AppendRun(out, r.Start, r.Value)
	}
	for ; i < len(list) && list[i].Start <= last; i++ {
	}
	if last < hi && (i == len(list) || list[i].Start > last+1) {
		// What was there goes on behind.
		out = AppendRun(out, last+1, list[i-1].Value)
	}
	for ; i < len(list); i++ {
		out = AppendRun(out, list[i].Start, list[i].Value)
	}
	return out
}

// runs appends the runs of p, which is for lo to hi, to a list that ends before.
func (e *Editor) runs(list []Run, p piece, lo, hi uint64) []Run {
	m := &e.m
	if p.isNode() {
		n := m.nodes[p.values()]
		if n.first > lo {
			list = AppendRun(list, lo, n.below)
		}
		for i := range n.span>>n.shift + 1 {
			from := n.first + i<<n.shift
			list = e.runs(list, n.pages[i>>pageBits][i%pageSize], from, from+(1<<n.shift-1))
		}
		if end := n.first + n.span; end < hi {
			list = AppendRun(list, end+1, n.beyond)
		}
		return list
	}
	at, n := p.bounds(), p.count()
	switch {
	case n == 0:
		return AppendRun(list, lo, m.b32[at])
	case p.width() == 0:
		list = AppendRun(list, lo, m.value(p, 0))
		for i := range n {
			list = AppendRun(list, lo&^(1<<16-1)|uint64(m.b16[at+i])+1, m.value(p, i+1))
		}
	case p.width() == 1:
		list = AppendRun(list, lo, m.b32[at+n])
		for i := range n {
			list = AppendRun(list, lo&^(1<<32-1)|uint64(m.b32[at+i])+1, m.b32[at+n+i+1])
		}
	case p.width() == 3:
		return e.wideRuns(list, p, lo, hi)
	default:
		list = AppendRun(list, lo, Value(m.b64[at+n]))
		for i := range n {
			list = AppendRun(list, m.b64[at+i]+1, Value(m.b64[at+n+i+1]))
		}
	}
	return list
}
