package enforce

import (
	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/sg"
)

// portState is what a Port knows of its interface in one generation.
type portState struct {
	gen   *generation
	known bool
	iface ir.Interface
	zone  conntrack.Zone // the interface's own: never that of another, nor of a former one of the same id
	frags conntrack.Zone // likewise for fragments, whose marks are numbers of one compiler only

	lanes  [4]conntrack.Lane // by sg.Direction; of an unknown interface they know no packet
	chains [4]compile.Chain  // of gen's matcher, likewise: of an unknown interface they allow nothing
	wide   [4]bool           // of chains: packets are matched together

	guarded bool
	guard   guard
}

// current returns the state for the policy in force, nil if there is none.
func (p *Port) current() *portState {
	if st := p.state.Load(); st != nil && st.gen == p.engine.gen.Load() {
		return st
	}
	return p.resolve()
}

// resolve looks the interface up in the policy in force. A connection zone is
// kept as long as it is the same interface: the same serial of one compiler,
// or, across compilers, the same VPC.
func (p *Port) resolve() *portState {
	p.mu.Lock()
	defer p.mu.Unlock()
	st, gen := p.state.Load(), p.engine.gen.Load() // read under the lock: states only move forward
	if gen == nil || st != nil && st.gen == gen {
		return st
	}
	next := &portState{gen: gen}
	next.iface, next.known = gen.matcher.Interface(p.id)
	book := st != nil && st.gen.book == gen.book
	same := st != nil && st.known && next.known && st.iface.VPC == next.iface.VPC &&
		(!book || st.iface.Serial == next.iface.Serial)
	switch {
	case same:
		next.zone = st.zone
	case next.known:
		next.zone = p.engine.newZone(p)
	}
	switch {
	case same && book:
		next.frags = st.frags
	case next.known:
		next.frags = conntrack.Zone(p.engine.fragZones.Add(1))
	}
	if st != nil && st.known && !same {
		p.engine.giveUp(st.zone)
	}
	if next.known {
		for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
			next.chains[d] = gen.matcher.Chain(next.iface.Index, d)
			next.wide[d] = next.chains[d].Wide()
			next.lanes[d] = p.engine.table.Lane(next.zone, side(d), gen.epoch)
		}
		if next.guarded = next.iface.Guard; next.guarded {
			next.guard = newGuard(&next.iface)
		}
	}
	p.limit(st, next)
	p.state.Store(next)
	return next
}

// match returns the verdict of the policy in force on a new flow of direction d.
func (st *portState) match(d sg.Direction, f ir.Flow) ir.Verdict { return st.chains[d&3].Match(f) }

func (e *Engine) newZone(p *Port) conntrack.Zone {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.zones = append(e.zones, p)
	return conntrack.Zone(len(e.zones) - 1)
}

// giveUp notes a zone whose connections Apply is to forget. Whoever comes upon
// the change first, a packet or Apply, notes it.
func (e *Engine) giveUp(z conntrack.Zone) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = append(e.gone, z)
}

// stateOf returns the state of the port that has zone z now, nil if none has: z
// may be anybody's who has written to the table himself.
func (e *Engine) stateOf(z conntrack.Zone) *portState {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if uint64(z) >= uint64(len(e.zones)) {
		return nil
	}
	if p := e.zones[z]; p != nil {
		if st := p.state.Load(); st != nil && st.zone == z {
			return st
		}
	}
	return nil
}

// resolvePorts brings every port up to date and returns the zones given up.
func (e *Engine) resolvePorts() map[conntrack.Zone]bool {
	e.mu.RLock()
	ports := make([]*Port, 0, len(e.ports))
	for _, p := range e.ports {
		ports = append(ports, p)
	}
	e.mu.RUnlock()
	for _, p := range ports {
		p.current()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	gone := make(map[conntrack.Zone]bool, len(e.gone))
	for _, z := range e.gone {
		gone[z] = true
	}
	e.gone = nil
	return gone
}
