package kerneltest

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
)

// trial is a walk and the policies that it meets: the second is in force from
// step swap on.
type trial struct {
	policies [2]rules
	swap     int
	steps    []step
	batch    bool // the engine judges packets of one direction together
}

// judge is a kernel and an engine for every walk.
type judge struct {
	t        testing.TB
	lab      *netlabtest.Lab
	place    int
	policy   rules // in force in the kernel
	policies [2]rules
	matchers [2]*compile.Matcher
	sent     int

	skew func(nft string) string // for a kernel that errs
}

func newJudge(t testing.TB) *judge {
	j := &judge{t: t}
	j.lab = netlabtest.Start(t, netlabtest.Config{
		Ports:   []netlabtest.Port{{Device: "sg0", Addrs: []netip.Prefix{netip.MustParsePrefix("64.0.0.0/2"), netip.MustParsePrefix("fd00::/64")}}},
		Uplinks: []netlabtest.Uplink{{Device: "up0"}},
		MTU:     9000,
	})
	for name, value := range map[string]string{
		// The memory for fragments must not be used up by walks before.
		"net.ipv4.ipfrag_high_thresh":                  "1073741824",
		"net.netfilter.nf_conntrack_frag6_high_thresh": "1073741824",
		// The engine does not look at transport checksums (decision 10).
		"net.netfilter.nf_conntrack_checksum": "0",
	} {
		require.NoError(t, j.lab.Sysctl(name, value))
	}
	return j
}

// engine passes a walk through an engine of its own. If before is not nil, it
// is called ahead of every packet.
func (j *judge) engine(tr trial, place int, before func(i int, p *packet.Packet, e *enforce.Engine)) []ir.Verdict {
	if j.matchers[0] == nil || !slices.Equal(j.policies[0], tr.policies[0]) || !slices.Equal(j.policies[1], tr.policies[1]) {
		m, err := compilePair(tr.policies)
		require.NoError(j.t, err)
		j.policies, j.matchers = tr.policies, m
	}
	e := enforce.NewEngine(enforce.Options{
		Conntrack: conntrack.Options{MaxEntries: 256, Shards: 1, MaxFragments: 16, MaxFragmentsPerZone: 16},
		Now:       func() time.Time { return time.Unix(1_000_000, 0) },
	})
	require.NoError(j.t, e.Apply(context.Background(), j.matchers[0]))
	port := e.Port("i")
	out := make([]ir.Verdict, len(tr.steps))
	var b [][]byte // not judged yet, all in one direction
	for i, s := range tr.steps {
		if i == tr.swap {
			require.NoError(j.t, e.Apply(context.Background(), j.matchers[1]))
		}
		d := sg.Egress
		if s.in {
			d = sg.Ingress
		}
		b = append(b, relocate(s.b, place))
		if before != nil {
			var p packet.Packet
			_ = packet.Decode(b[0], &p) // as far as it goes
			before(i, &p, e)
		}
		switch next := i + 1; {
		case !tr.batch || before != nil:
			out[i] = port.Filter(d, b[0])
		case next < len(tr.steps) && next != tr.swap && tr.steps[next].in == s.in:
			continue
		default:
			port.FilterBatch(d, b, out[next-len(b):next])
		}
		b = b[:0]
	}
	return out
}

// result is what became of the packets of a walk.
type result struct {
	place  int
	kernel []bool
	engine []ir.Verdict
}

// judge passes walks under the same policies through both.
func (j *judge) judge(trials []trial) []result {
	j.t.Helper()
	out := make([]result, len(trials))
	for i, tr := range trials {
		if j.place++; j.place == places {
			require.Zero(j.t, i, "more walks than places")
			j.place = 1
			require.NoError(j.t, j.lab.FlushConntrack())
		}
		out[i] = result{place: j.place, engine: j.engine(tr, j.place, nil)}
	}
	merged := make([]map[int]*bool, len(trials))
	for phase := range 2 {
		var steps []netlabtest.Step
		for i, tr := range trials {
			from, to := 0, min(tr.swap, len(tr.steps))
			if phase == 1 {
				from, to = to, len(tr.steps)
			}
			list, whole := tr.wire(out[i].place, from, to)
			steps, merged[i] = append(steps, list...), whole
		}
		if len(steps) == 0 {
			continue
		}
		if p := trials[0].policies[phase]; j.policy == nil || !slices.Equal(j.policy, p) {
			text := p.nft()
			if j.skew != nil {
				text = j.skew(text)
			}
			require.NoError(j.t, j.lab.Ruleset(j.t.Context(), text))
			j.policy = p
		}
		arrived, err := j.lab.Send(steps)
		require.NoError(j.t, err)
		j.sent += len(steps)
		for i, tr := range trials {
			n := min(tr.swap, len(tr.steps))
			if phase == 1 {
				n = len(tr.steps) - n
			}
			from := len(out[i].kernel)
			out[i].kernel = append(out[i].kernel, arrived[:n]...)
			arrived = arrived[n:]
			for k, done := range completed(tr.steps) {
				if from <= k && done >= 0 && merged[i][done] != nil && *merged[i][done] {
					out[i].kernel[k] = true
				}
			}
		}
	}
	return out
}

// reserve makes room for n more walks.
func (j *judge) reserve(n int) {
	if j.place+n >= places {
		j.place = 0
		require.NoError(j.t, j.lab.FlushConntrack())
	}
}
