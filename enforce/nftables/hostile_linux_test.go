package nftables

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/hostiletest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// TestHostile puts the packet cases of the threat catalogue to the kernel. Where
// it judges otherwise than the engine, kernelDiffers says how and why.
func TestHostile(t *testing.T) {
	netlabtest.Require(t)
	lab := newHostileLab(t)
	names := map[string]bool{}
	for _, c := range hostiletest.Cases() {
		names[c.Name()] = true
		t.Run(c.Name(), func(t *testing.T) {
			l := lab
			if strings.HasPrefix(c.ID, "FRAG-") {
				l = newHostileLab(t) // the kernel keeps what it has not put together
			}
			require.NoError(t, l.lab.FlushConntrack())
			got, want := l.play(t, c), strings.ToUpper(c.Want())
			if d, ok := kernelDiffers()[c.Name()]; ok {
				require.NotEqual(t, want, d.want, "no difference")
				require.Equal(t, d.want, got, d.why)
				return
			}
			require.Equal(t, want, got)
		})
	}
	for name := range kernelDiffers() {
		require.True(t, names[name], "%s is no case", name)
	}
}

func newHostileLab(t *testing.T) *kernelLab {
	var list []enforcetest.Interface
	for _, i := range hostiletest.Interfaces() {
		list = append(list, enforcetest.Interface{ID: i.ID, VPC: i.VPC, Addrs: i.Addrs})
	}
	return newKernelLab(t, list, Options{})
}

// play returns the verdicts of the kernel on a case.
func (l *kernelLab) play(t *testing.T, c hostiletest.Case) string {
	var verdicts strings.Builder
	policies := c.Policies
	for from := 0; from < len(c.Steps); {
		if from == 0 || c.Steps[from].Swap {
			s, err := policy.Build(policies[0].Profile, policies[0].Changes...)
			require.NoError(t, err)
			m, err := compile.Compile(s)
			require.NoError(t, err)
			require.NoError(t, l.Apply(t.Context(), m))
			policies = policies[1:]
		}
		to := from + 1
		for to < len(c.Steps) && !c.Steps[to].Swap {
			to++
		}
		var steps []netlabtest.Step
		for _, s := range c.Steps[from:to] {
			steps = append(steps, l.hostileStep(c.ID, s))
		}
		got, err := l.lab.Send(steps)
		require.NoError(t, err)
		for _, passed := range got {
			verdicts.WriteByte("DA"[map[bool]int{true: 1}[passed]])
		}
		from = to
	}
	return verdicts.String()
}

// hostileStep puts a packet on the wire.
func (l *kernelLab) hostileStep(id string, s hostiletest.Step) netlabtest.Step {
	out := netlabtest.Step{From: l.device[s.Interface], To: l.uplink[s.Interface], Packet: s.Packet}
	if s.Direction == sg.Ingress {
		out.From, out.To = out.To, out.From
	}
	if id == "HDR-04" {
		out.EtherType = 0x0800 // whatever the version field says
	}
	const fragment = 44
	if b := s.Packet; len(b) > 48 && b[0]>>4 == 6 && b[6] == fragment && b[42] == 0 && b[43] == 0 {
		// The kernel takes the header of an atomic fragment off.
		out.Same = func(got []byte) bool {
			return len(got) > 40 && bytes.Equal(got[8:40], b[8:40]) && (bytes.Equal(got[40:], b[48:]) || bytes.Equal(got[40:], b[40:]))
		}
	}
	return out
}

// deviation is how the kernel judges a case otherwise than the engine.
type deviation struct{ want, why string }

// kernelDiffers are the cases that the kernel judges otherwise, by name: the
// list in the documentation of this package, and what the lab has no way to
// show. Verdicts are those of the kernel on every packet of the case.
func kernelDiffers() map[string]deviation {
	const (
		together   = "a fragment is not sent on before its datagram is complete"
		duplicates = "the datagram was complete with the first copy; the second begins another that never is"
		sequence   = "the sequence number that an ICMP error quotes is not looked at (RFC 5927 4.1)"
		notRouted  = "link-local and broadcast traffic is not routed: it ends at this host, or never leaves the link"
		land       = "LAND is the receiver's to drop; with a source guard it goes no further"
	)
	return map[string]deviation{
		"ICMP-15/v4": {"AAAAA", sequence},
		"ICMP-15/v6": {"AAAAA", sequence},

		"FRAG-02/v4":            {"DD", together},
		"FRAG-02/v6":            {"DD", together},
		"FRAG-03":               {"DDD", together},
		"FRAG-04/v4":            {"ADAD", duplicates},
		"FRAG-04/v6":            {"ADAD", duplicates},
		"FRAG-05/good first/v4": {"ADA", "the second copy is discarded, and the first, which was judged, delivered"},
		"FRAG-05/good first/v6": {"ADA", "the second copy is discarded, and the first, which was judged, delivered"},
		"FRAG-07/v4":            {"DD", together},
		"FRAG-07/v6":            {"DD", together},
		"FRAG-08/v4":            {"DDD", together},
		"FRAG-08/v6":            {"DDD", together},
		"FRAG-10/v4":            {"DD", together},
		"FRAG-10/v6":            {"DD", together},
		"FRAG-11":               {"DADDD", "atomic fragment headers are taken off, however many"},
		"FRAG-16":               {"DDDD", together},

		"EXT-02": {"DADA", "chains of any length are walked"},
		"EXT-03": {"AD", "a routing header of type 0 is the destination's to refuse, and it does (RFC 5095)"},
		"EXT-04": {"DA", "hop-by-hop options are looked for in the first place only, and walked over elsewhere"},
		"EXT-07": {"DD", "an authentication header ends the walk of nftables"},

		"HDR-11/v4": {"A", land},
		"HDR-11/v6": {"A", land},
		"HDR-12":    {"DDDDADDDDD", "240.0.0.0/4 is unicast to Linux; the other martians are dropped by its routing"},

		"TCP-18/v4": {"AAD", "a RST that does not acknowledge the SYN ends the attempt"},
		"TCP-18/v6": {"AAD", "a RST that does not acknowledge the SYN ends the attempt"},

		"UDP-01/v4": {"DDDD", "bytes behind the length of UDP spoil the checksum"},
		"UDP-01/v6": {"DDDD", "bytes behind the length of UDP spoil the checksum"},
		"UDP-02":    {"ADAAD", "a checksum of zero is let through in IPv6 too (RFC 6935); its receiver decides"},

		"INF-01": {"ADAA", "hop limits are not looked at: a router lowers them, so what was sent off-link arrives with less than 255"},
		"INF-02": {"DAADADDD", notRouted},
		"INF-03": {"D", notRouted},
	}
}
