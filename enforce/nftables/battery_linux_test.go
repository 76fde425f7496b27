package nftables

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// battery is a history of a policy, with packets for each of its phases and what
// becomes of them, which is what the reference says.
//
// Each phase has a table of its own, all but one of which sleep. Packets of one
// connection, whichever way they go and whoever sends them, are a unit: what
// becomes of them does not depend on other units. A mutant that changes a
// statement is tried by the units whose packets match that statement.
type battery struct {
	w      *world
	kernel *kernel // to read counters with
	phases []*phase
	awake  int // phase whose table is; -1: none
}

// phase is one policy of the history.
type phase struct {
	table string
	rules *ruleset
	steps []step
	talk  string // what the host itself may send
	match map[statementAt]map[int]bool
	count []map[string]int // of the counters, by unit
	dirty bool             // packets passed since the counters were read

	counted map[string]int // what they were then
}

// step is a packet of a phase.
type step struct {
	netlabtest.Step
	unit   int
	result string // whether it arrives, and what the host answers
}

// hostUnit is what the host itself sends.
const hostUnit = 0

// perLook is how many packets are sent before their results are looked at.
const perLook = 100

// newBattery goes through a history of a policy and records what becomes of its
// packets.
func newBattery(t *testing.T, w *world, established sg.Established) *battery {
	b := &battery{w: w, awake: -1, kernel: new(kernel)}
	require.NoError(t, w.lab.Do(func() (err error) {
		b.kernel.s, err = openSocket()
		return err
	}))
	t.Cleanup(func() { _ = b.kernel.close() })
	var c compile.Compiler
	r := newReference(false)
	flows := scenarios(programs(t, established)...)
	var queues [][]queued
	for k, changes := range history() {
		var m *compile.Matcher
		var err error
		if k == 0 {
			m, err = c.Reset(build(t, richProfile(established), changes...))
		} else {
			m, err = c.Apply(policy.Batch{Changes: changes})
		}
		require.NoError(t, err)
		require.NoError(t, r.apply(m))
		w.queue = nil
		for _, f := range flows {
			f.play(k, func(h hop, pkt []byte) bool {
				j := r.judge(h, pkt)
				w.expect(h, pkt, j)
				return j.pass
			})
		}
		queues = append(queues, w.queue)
		l, err := newLayout(m.Program(), w.options)
		require.NoError(t, err)
		b.phases = append(b.phases, &phase{table: fmt.Sprint("phase", k), rules: l.ruleset(), match: map[statementAt]map[int]bool{}})
	}
	w.queue = nil
	b.divide(queues)
	b.load()
	b.record()
	for k, p := range b.phases {
		passed := 0
		for _, s := range p.steps {
			if s.result[0] == '+' {
				passed++
			}
		}
		t.Logf("established %v, phase %d: %d packets, %d pass", established, k, len(p.steps), passed)
	}
	b.compare(queues)
	return b
}

// divide puts the packets into units, and those of one unit together.
func (b *battery) divide(queues [][]queued) {
	units := map[string]int{"": hostUnit}
	unitOf := func(pkt []byte) int {
		name := "undecodable"
		var p packet.Packet
		if packet.Decode(pkt, &p) == nil {
			name = connectionOf("", p.Tuple)
			if p.Inner.Tuple.Family != 0 {
				name = connectionOf("", p.Inner.Tuple)
			}
		}
		if _, ok := units[name]; !ok {
			units[name] = len(units)
		}
		return units[name]
	}
	for k, p := range b.phases {
		for _, q := range queues[k] {
			p.steps = append(p.steps, step{Step: b.w.step(q), unit: unitOf(q.pkt)})
		}
		for _, s := range append(strays(), hostTalks(k)...) {
			p.steps = append(p.steps, step{Step: s, unit: unitOf(s.Packet)})
		}
		slices.SortStableFunc(p.steps, func(x, y step) int { return x.unit - y.unit })
	}
	for _, p := range b.phases {
		p.count = make([]map[string]int, len(units))
	}
}

// load makes the tables of all phases, asleep.
func (b *battery) load() {
	require.NoError(b.w.t, b.script(func(w *writer) {
		for _, p := range b.phases {
			r := *p.rules
			r.table = p.table
			w.printf("table inet %[1]s\ndelete table inet %[1]s\n", p.table)
			r.block(w)
			w.printf("add table inet %s { flags dormant; }\n", p.table)
		}
	}))
	require.NoError(b.w.t, b.w.lab.FlushConntrack())
	b.awake = -1
	for _, p := range b.phases {
		p.counted = map[string]int{}
	}
}

// wake begins a phase, with what was changed about its ruleset and what is to be
// undone of the last change, and reports whether nft and the kernel take it.
// apart has each step be a transaction of its own, as hooks that come and go
// need it.
func (b *battery) wake(k int, change, undo func(*writer), apart bool) bool {
	steps := []func(*writer){b.sleep, undo, change, func(w *writer) { w.printf("add table inet %s\n", b.phases[k].table) }}
	if !apart {
		steps = []func(*writer){together(steps...)}
	}
	for _, f := range steps {
		if f != nil && b.script(f) != nil {
			return false
		}
	}
	b.awake = k
	return true
}

// together writes parts of one script.
func together(parts ...func(*writer)) func(*writer) {
	return func(w *writer) {
		for _, f := range parts {
			if f != nil {
				f(w)
			}
		}
	}
}

// sleep ends whatever phase is awake.
func (b *battery) sleep(w *writer) {
	if b.awake >= 0 {
		w.printf("add table inet %s { flags dormant; }\n", b.phases[b.awake].table)
	}
	b.awake = -1
}

// rest ends the phase that is awake, and undoes a change.
func (b *battery) rest(undo func(*writer)) {
	require.NoError(b.w.t, b.script(b.sleep))
	if undo != nil {
		require.NoError(b.w.t, b.script(undo))
	}
}

func (b *battery) script(f func(*writer)) error {
	var text bytes.Buffer
	out := newWriter(&text)
	f(out)
	require.NoError(b.w.t, out.flush())
	return b.w.lab.Ruleset(b.w.t.Context(), text.String())
}

// send sends packets and returns what becomes of each.
func (b *battery) send(steps []step) []string {
	list := make([]netlabtest.Step, len(steps))
	for i, s := range steps {
		list[i] = s.Step
	}
	report, err := b.w.lab.Exchange(list)
	require.NoError(b.w.t, err)
	out := make([]string, len(steps))
	for i, ok := range report.Arrived {
		out[i] = map[bool]string{true: "+", false: "-"}[ok]
	}
	for _, o := range report.Outputs {
		if o.Forwarded < 0 {
			out[o.Step] += fmt.Sprintf(" %s:%d:%d", o.Device, len(o.Packet), o.Packet[0]>>4)
		}
	}
	return out
}

// counters returns by how much the counters of a phase have grown since it was
// last asked.
func (b *battery) counters(p *phase) map[string]int {
	b.kernel.table = p.table
	list, err := b.kernel.objects()
	require.NoError(b.w.t, err)
	out := map[string]int{}
	for _, o := range list {
		if n := int(o.count.packets) - p.counted[o.name]; n != 0 {
			out[o.name], p.counted[o.name] = n, p.counted[o.name]+n
		}
	}
	p.dirty = false
	return out
}

var countedBy = regexp.MustCompile(`counter name (rule\d+)`)

// record sends every unit through the history and records what becomes of its
// packets, and which statements they match.
func (b *battery) record() {
	var tables []string
	for _, p := range b.phases {
		tables = append(tables, p.table)
	}
	tr := newTracer(b.w.t, b.w.lab, tables...)
	for k, p := range b.phases {
		require.True(b.w.t, b.wake(k, nil, nil, false))
		texts := map[statementAt]string{}
		for _, c := range p.rules.chains {
			for i, rule := range c.rules {
				texts[statementAt{c.name, i}] = rule
			}
		}
		note := func(unit int) {
			p.count[unit] = map[string]int{}
			for at, n := range tr.heard(p.table) {
				if p.match[at] == nil {
					p.match[at] = map[int]bool{}
				}
				p.match[at][unit] = true
				if m := countedBy.FindStringSubmatch(texts[at]); m != nil {
					p.count[unit][m[1]] += n
				}
			}
		}
		tr.heard(p.table)
		for rest := p.steps; len(rest) > 0; {
			n := slices.IndexFunc(rest, func(s step) bool { return s.unit != rest[0].unit })
			if n < 0 {
				n = len(rest)
			}
			for i, r := range b.send(rest[:n]) {
				rest[i].result = r
			}
			note(rest[0].unit)
			rest = rest[n:]
		}
		p.talk = b.w.hostTalk()
		note(hostUnit)
		want := map[string]int{}
		for _, m := range p.count {
			for name, n := range m {
				want[name] += n
			}
		}
		require.Equal(b.w.t, want, b.counters(p), "what was heard of packets is not all")
	}
	b.rest(nil)
	tr.close()
}

// compare holds what became of packets against the reference.
func (b *battery) compare(queues [][]queued) {
	for k, p := range b.phases {
		arrived := map[string][]bool{} // of equal packets one after the other
		key := func(s netlabtest.Step) string { return s.From + " " + s.To + " " + string(s.Packet) }
		for _, s := range p.steps {
			arrived[key(s.Step)] = append(arrived[key(s.Step)], s.result[0] == '+')
		}
		for _, q := range queues[k] {
			list := arrived[key(b.w.step(q))]
			got := list[0]
			arrived[key(b.w.step(q))] = list[1:]
			if got != q.want.pass && !(q.want.strange || q.want.unlisted || q.want.outlives) {
				b.w.t.Fatalf("phase %d: %s: arrived is %v; %s", k, describe(q.hop, q.pkt), got, q.want.why)
			}
		}
	}
}

// outcome of a mutant.
type outcome uint8

const (
	caught     outcome = iota
	missed             // packets match what it changed, and fare the same
	unmatched          // no packet matches it
	unreadable         // nft or the kernel refuses it
)

func (o outcome) String() string {
	return [...]string{"caught", "missed", "unmatched", "unreadable"}[o]
}

// touched returns the units that a mutation may make a difference to.
func (b *battery) touched(m mutation) map[int]bool {
	out := map[int]bool{}
	for _, p := range b.phases {
		for _, c := range p.rules.chains {
			for i, rule := range c.rules {
				if m.concerns(c.name, rule) {
					maps.Copy(out, p.match[statementAt{c.name, i}])
				}
			}
		}
	}
	return out
}

// all are all units.
func (b *battery) all() map[int]bool {
	out := map[int]bool{}
	for unit := range b.phases[0].count {
		out[unit] = true
	}
	return out
}

// try runs units through the history under a mutation, until a packet fares
// differently.
func (b *battery) try(m mutation, units map[int]bool) outcome {
	if len(units) == 0 {
		return unmatched
	}
	require.NoError(b.w.t, b.w.lab.FlushConntrack())
	var undo func(*writer)
	defer func() { b.rest(undo) }()
	for k, p := range b.phases {
		change, back := m.scripts(p)
		if !b.wake(k, change, undo, m.kind == "unhook") {
			undo = nil
			b.load()
			return unreadable
		}
		undo = back
		if !b.same(p, units) {
			return caught
		}
	}
	return missed
}

// same sends the packets of some units and reports whether they fare as
// recorded.
func (b *battery) same(p *phase, units map[int]bool) bool {
	if p.dirty {
		b.counters(p)
	}
	p.dirty = true
	var list []step
	for _, s := range p.steps {
		if units[s.unit] {
			list = append(list, s)
		}
	}
	for part := range slices.Chunk(list, perLook) {
		for i, r := range b.send(part) {
			if r != part[i].result {
				return false
			}
		}
	}
	if units[hostUnit] && b.w.hostTalk() != p.talk {
		return false
	}
	want := map[string]int{}
	for unit := range units {
		for name, n := range p.count[unit] {
			want[name] += n
		}
	}
	return maps.Equal(want, b.counters(p))
}
