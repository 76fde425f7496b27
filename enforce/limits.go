package enforce

import "example.com/secgroup/conntrack"

// SetLimits sets what the connections of this interface have otherwise than the
// engine's table ([conntrack.Table.SetZone], which see): how many there may be, and
// whether sequence numbers refuse TCP segments. It holds from now on, for
// connections that exist too, and survives changes of policy: also where the
// interface is deleted and made again. It may be called before the policy knows
// the interface. The zero ZoneOptions is what every interface begins with.
func (p *Port) SetLimits(o conntrack.ZoneOptions) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = o
	if st := p.state.Load(); st != nil && st.known {
		p.engine.table.SetZone(st.zone, o)
	}
}

// Limits returns what SetLimits set.
func (p *Port) Limits() conntrack.ZoneOptions {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limits
}

// limit moves the limits from the zone of one state to that of the next, before
// that one is in force. p.mu is held.
func (p *Port) limit(from, to *portState) {
	if p.limits == (conntrack.ZoneOptions{}) {
		return
	}
	was := from != nil && from.known
	if was && to.known && from.zone == to.zone {
		return
	}
	if to.known {
		p.engine.table.SetZone(to.zone, p.limits)
	}
	if was {
		p.engine.table.SetZone(from.zone, conntrack.ZoneOptions{})
	}
}
