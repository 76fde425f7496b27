package ir

import "example.com/secgroup/sg"

// Eval is the reference interpreter: a linear scan, slow and obvious. What it
// returns is what the policy means.
func (p *Program) Eval(id sg.InterfaceID, d sg.Direction, f Flow) Verdict {
	i, ok := p.d.Interfaces.Get(id)
	if !ok || !d.Valid() {
		return Verdict{Reason: ReasonUnknownInterface}
	}
	pol, _ := p.d.Policies.Get(i.Policy)
	chain := pol.Chain(d)
	var v Verdict
	seen := make(map[SelectorNum]bool)
	for _, n := range chain.Rules {
		r, _ := p.d.Rules.Get(n)
		if !r.MatchesService(f) || !p.selects(seen, r.Peer, f) {
			continue
		}
		if v.Rule == 0 {
			v = Verdict{Action: r.Action, Reason: ReasonRule, Stateless: true, Rule: n}
			if r.Ref.Platform != "" {
				v.Reason = ReasonPlatform
			}
		}
		if r.Action == sg.Accept && !r.Stateless {
			v.Stateless = false
		}
	}
	if v.Rule == 0 {
		return Verdict{Action: chain.Default, Reason: chain.Reason}
	}
	if v.Action == sg.Drop {
		v.Stateless = false
	}
	return v
}

// MatchesService reports whether r matches f in everything but the peer.
func (r Rule) MatchesService(f Flow) bool { return r.MissesService(f) == "" }

// MissesService returns the first condition, beside the peer, that f fails:
// "family", "protocol", "ports" or "icmp"; "" if it fails none.
func (r Rule) MissesService(f Flow) string {
	switch {
	case !f.Remote.IsValid() || r.Family != sg.FamilyOf(f.Remote):
		return "family"
	case r.Protocol != sg.AnyProtocol && r.Protocol != sg.Protocol(f.Protocol):
		return "protocol"
	case r.Protocol.HasPorts() && !r.Ports.IsAll() && (f.NoPorts || !r.Ports.Contains(f.Port)):
		return "ports"
	case r.Protocol.HasICMP() && !r.ICMP.Matches(f.ICMPType, f.ICMPCode):
		return "icmp"
	}
	return ""
}

// Selects reports whether the remote address of f is one that s selects.
func (p *Program) Selects(s SelectorNum, f Flow) bool {
	return p.selects(make(map[SelectorNum]bool), s, f)
}

func (p *Program) selects(seen map[SelectorNum]bool, s SelectorNum, f Flow) bool {
	if s == Any {
		return f.Remote.IsValid()
	}
	in, ok := seen[s]
	if !ok {
		remote := f.Remote.WithZone("")
		for c := range p.prefixes(s, sg.FamilyOf(remote)) {
			if c.Contains(remote) {
				in = true
				break
			}
		}
		seen[s] = in
	}
	return in
}
