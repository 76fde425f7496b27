package hostiletest

import (
	"fmt"
	"strings"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// Case is one attack or edge case.
type Case struct {
	// ID is that of the list; Variant tells cases of one id apart, and is empty
	// or one of "v4", "v6" and words.
	ID, Variant string

	// Policies are put in force one after the other: the first before the first
	// step, the next where a step says so.
	Policies []Policy

	Steps []Step
}

// Name is ID and Variant as a test name.
func (c *Case) Name() string {
	if c.Variant == "" {
		return c.ID
	}
	return c.ID + "/" + c.Variant
}

// Want is the verdicts on all steps, each A or D: in capitals those that the list
// names, small what leads up to them.
func (c *Case) Want() string {
	var b strings.Builder
	for _, s := range c.Steps {
		b.WriteByte(s.Want)
	}
	return b.String()
}

// Policy is a policy as a whole.
type Policy struct {
	Profile sg.Profile
	Changes []policy.Change
}

// Step is one packet and its verdict.
type Step struct {
	Swap      bool // before the packet the next policy is put in force
	Interface sg.InterfaceID
	Direction sg.Direction
	Packet    []byte
	Want      byte // 'A' or 'D'; small if the list does not name this packet
}

// Accept reports whether the packet must pass.
func (s *Step) Accept() bool { return s.Want == 'A' || s.Want == 'a' }

// script collects the steps of a case in one address family.
type script struct {
	c Case
	family
	swap bool
}

// family is the addresses of a case: the workload of interface "a", that of "b",
// and three hosts elsewhere.
type family struct {
	local, other, peer, far, third string
	six                            bool
}

func four() family {
	return family{"10.0.0.5", "10.0.0.6", "192.0.2.7", "198.51.100.9", "203.0.113.4", false}
}

func six() family {
	return family{"fd00::5", "fd00::6", "2001:db8::7", "2001:db8:9::9", "2001:db8:5::4", true}
}

// of picks by family.
func of[T any](f family, v4, v6 T) T {
	if f.six {
		return v6
	}
	return v4
}

func (s *script) step(want byte, i sg.InterfaceID, d sg.Direction, b []byte) {
	s.c.Steps = append(s.c.Steps, Step{Swap: s.swap, Interface: i, Direction: d, Packet: b, Want: want})
	s.swap = false
}

// in is a packet that interface "a" gets, out one that it sends.
func (s *script) in(want byte, b []byte)  { s.step(want, "a", sg.Ingress, b) }
func (s *script) out(want byte, b []byte) { s.step(want, "a", sg.Egress, b) }

// next puts the next policy in force.
func (s *script) next() { s.swap = true }

// talk plays TCP segments: "c SA 5000 1001 +100 w8192 s7" is who (the client or
// the server), flags, sequence number, acknowledgement, and where they are not
// nothing and 8192, data and window, and a window scale. inside says that the
// client is the workload.
func (s *script) talk(inside bool, client, server, segments, want string) {
	i := 0
	for line := range strings.SplitSeq(segments, ";") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		g := segment{flags: tcpFlags(f[1]), win: 8192}
		numbers := []*uint32{&g.seq, &g.ack}
		for _, x := range f[2:] {
			var n uint32
			if _, err := fmt.Sscan(strings.TrimLeft(x, "+ws"), &n); err != nil {
				panic(err)
			}
			switch x[0] {
			case '+':
				g.data = int(n)
			case 'w':
				g.win = uint16(n)
			case 's':
				g.options = []byte{1, 3, 3, byte(n)}
			default:
				*numbers[0], numbers = n, numbers[1:]
			}
		}
		src, dst := client, server
		if f[0] == "s" {
			src, dst = dst, src
		}
		if (f[0] == "c") == inside {
			s.out(want[i], tcp(src, dst, g))
		} else {
			s.in(want[i], tcp(src, dst, g))
		}
		i++
	}
	if i != len(want) {
		panic(fmt.Sprintf("hostiletest: %s: %d segments, %d verdicts", s.c.ID, i, len(want)))
	}
}

// plan is a case before it is played in a family.
type plan struct {
	id, variant string
	families    string // "4", "6" or "46"
	policies    []Policy
	play        func(*script)
}

// Cases returns all cases, in the order of the list.
func Cases() []Case {
	var out []Case
	for _, list := range [][]plan{icmpPlans(), fragmentPlans(), extensionPlans(), headerPlans(), tcpPlans(), udpPlans(), groupPlans(), infraPlans(), controlPlans()} {
		for _, p := range list {
			for _, digit := range p.families {
				f := four()
				if digit == '6' {
					f = six()
				}
				s := &script{c: Case{ID: p.id, Variant: p.variant, Policies: p.policies}, family: f}
				if len(p.families) > 1 {
					s.c.Variant = strings.TrimPrefix(p.variant+"/v"+string(digit), "/")
				}
				p.play(s)
				out = append(out, s.c)
			}
		}
	}
	return out
}
