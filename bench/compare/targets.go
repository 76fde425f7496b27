package main

// target is what the project has set itself. Of two columns it is about the
// median, over the rounds, of the ratio of both in the same round, or of their
// difference; of one column about its median.
type target struct {
	what   string
	a, b   key // b without a trial: a alone
	limit  float64
	most   bool    // the limit is the most, not the least
	less   bool    // a less b, not a by b
	factor float64 // of what is shown and compared; 0 is 1
	unit   string
}

// targets are those that this program can judge, in the order of the list that
// the project keeps.
func targets() []target {
	const (
		own, batch = "secgroup", "secgroup batch"
		ms         = 1e-6
		us         = 1e-3
		noAllocs   = 0.01 // what the harness and the background work of all need
	)
	faster := func(what, trial, peer, me, unit string, limit float64) target {
		return target{what: what, a: key{trial, peer, unit}, b: key{trial, me, unit}, limit: limit, unit: "×"}
	}
	within := func(what, trial, me, unit string, limit float64, shown string, factor float64) target {
		return target{what: what, a: key{trial, me, unit}, limit: limit, most: true, unit: shown, factor: factor}
	}
	const (
		deny10, deny10k, new10k  = "deny/v4/rules=10", "deny/v4/rules=10k", "new/v4/rules=10k"
		hot, hot1k, hit1M, hit4M = "established/v4/rules=1k", "hit/v4/flows=1k", "hit/v4/flows=1M", "hit/v4/flows=4M"
		ins1M, ins4M             = "insert/v4/flows=1M", "insert/v4/flows=4M"
	)
	return []target{
		faster("deny, 10,000 rules, against tailscale", deny10k, "tailscale", own, perPacket, 1_000),
		faster("deny, 10,000 rules, against linear nftables", deny10k, "nftables linear", own, perPacket, 5_000),
		faster("deny, 10,000 rules, against an nftables pipapo set", deny10k, "nftables pipapo", own, perPacket, 12),
		{what: "deny, 10,000 rules, against 10 rules", a: key{deny10k, own, perPacket}, b: key{deny10, own, perPacket}, limit: 1.5, most: true, unit: "×"},
		within("deny, 10,000 rules", deny10k, own, perPacket, 35, "ns", 1),
		faster("deny, 10 rules, against tailscale", deny10, "tailscale", own, perPacket, 2.5),
		faster("new flow, 10,000 rules, against tailscale", new10k, "tailscale", own, perPacket, 200),
		within("new flow, 10,000 rules", new10k, own, perPacket, 100, "ns", 1),
		within("new flow, 10,000 rules, allocations", new10k, own, allocsPer, noAllocs, "per packet", 1),
		faster("established, hot, full TCP state, against tailscale's UDP", hot, "tailscale UDP", own, perPacket, 3),
		faster("established, hot, against gVisor", hot, "gvisor", own, perPacket, 60),
		faster("established, 1,000 flows, against the kernel's conntrack", hot1k, "kernel conntrack", own, perPacket, 14),
		within("established, hot", hot, own, perPacket, 22, "ns", 1),
		faster("established, 1M flows, batch, against the kernel's conntrack", hit1M, "kernel conntrack", batch, perPacket, 20),
		within("established, 1M flows, batch", hit1M, batch, perPacket, 75, "ns", 1),
		within("established, 4M flows, batch", hit4M, batch, perPacket, 90, "ns", 1),
		faster("insert, 1M flows, against the kernel's conntrack", ins1M, "kernel conntrack", own, perPacket, 20),
		within("insert, 1M flows", ins1M, own, perPacket, 100, "ns", 1),
		within("insert, 4M flows", ins4M, own, perPacket, 100, "ns", 1),
		faster("insert, 1M flows, batch, against the kernel's conntrack", ins1M, "kernel conntrack", batch, perPacket, 20),
		within("insert, 1M flows, batch", ins1M, batch, perPacket, 100, "ns", 1),
		within("insert, 4M flows, batch", ins4M, batch, perPacket, 100, "ns", 1),
		within("insert, 1M flows, allocations", ins1M, own, allocsPer, noAllocs, "per packet", 1),
		{what: "two cores, established, against one", a: key{"cores-established/v4/flows=10k", own, speedup}, limit: 1.9, unit: "×"},
		{what: "two cores, established, batch, against one", a: key{"cores-established/v4/flows=10k", batch, speedup}, limit: 1.9, unit: "×"},
		{what: "two cores, deny, against one", a: key{"cores-deny/v4/rules=100", own, speedup}, limit: 1.9, unit: "×"},
		within("memory of a flow, IPv4", "memory/flows=1M", own, perEntry, 96, "bytes", 1),
		within("memory of a flow, IPv6", "memory6/flows=1M", own, perEntry, 96, "bytes", 1),
		within("memory of a rule, 10,000 rules", "memory/rules=10k", own, perEntry, 128, "bytes", 1),
		within("memory of the rule TCP 1-65535", "memory/ports=all", own, perEntry, 1_024, "bytes", 1),
		within("memory of a prefix, 1M IPv4", "memory/prefixes=1M", own, perEntry, 8, "bytes", 1),
		{what: "garbage collection with 4M flows, less one without", a: key{"gc/flows=4M", own, gcCycle}, b: key{"gc/flows=4M", "no table", gcCycle}, less: true, limit: 5, most: true, unit: "ms", factor: ms},
		within("ageing, 1M flows", "ageing/flows=1M", own, perOp, 1, "ms", ms),
		within("ageing, the longest stretch", "ageing/flows=1M", own, longest, 50, "µs", us),
		faster("cold hit, 1M IPv4 prefixes, against bart.Lite", "lookup/v4/prefixes=1M", "bart.Lite", own, perOp, 5),
		faster("cold hit, 1M IPv4 prefixes, batch, against bart.Lite", "lookup/v4/prefixes=1M", "bart.Lite", batch, perOp, 5),
		faster("cold hit, 1M IPv6 prefixes, batch, against bart.Lite", "lookup/v6/prefixes=1M", "bart.Lite", batch, perOp, 3),
		within("compile 10,000 rules", "build/rules=10k", own, perOp, 5, "ms", ms),
		within("compile a set of 1M prefixes", "build/prefixes=1M", own, perOp, 50, "ms", ms),
		within("one rule of 10,000 changed", "update/rules=10k", own, perOp, 50, "µs", us),
		within("one member of 100,000 changed", "update/prefixes=100k", own, perOp, 20, "µs", us),
	}
}

// outcome is how a target was met.
type outcome struct {
	target
	rounds []float64 // what was measured, by round; empty: it was not
}

func (o outcome) measured() float64 { return median(o.rounds) }

func (o outcome) met() bool {
	if o.most {
		return o.measured() <= o.limit
	}
	return o.measured() >= o.limit
}

func judge(s series) []outcome {
	var out []outcome
	for _, t := range targets() {
		o := outcome{target: t}
		switch {
		case t.b.trial == "":
			o.rounds = s.values(t.a)
		case t.less:
			o.rounds = s.differences(t.a, t.b)
		default:
			o.rounds = s.ratios(t.a, t.b)
		}
		if t.factor != 0 {
			for i := range o.rounds {
				o.rounds[i] *= t.factor
			}
		}
		out = append(out, o)
	}
	return out
}
