package dialect_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

// cell is a question to every profile, answered by running it: an action, a
// number, or "refused".
type cell struct {
	row string
	run func(s *scene) string
}

// verdict answers a question with the action alone, and says which platform
// rule it was if it was one.
func (s *scene) verdict(text string) string {
	w := strings.Fields(s.answer(text, readQuestion(text)))
	if w[1] == "platform" {
		return w[0] + " (platform)"
	}
	return w[0]
}

// try puts c, or says why it can not be.
func (s *scene) try(f func(tx *policy.Tx) error) (refused string) {
	_, err := s.store.Update(admin(), f)
	for _, kind := range []error{sg.ErrRequired, sg.ErrUnsupported, sg.ErrForbidden, sg.ErrInUse, sg.ErrQuota} {
		if errors.Is(err, kind) {
			return "refused: " + kind.Error()
		}
	}
	require.NoError(s.t, err)
	s.follow()
	return ""
}

// given asks a question of a policy, which may be refused.
func given(row, ask string, c ...policy.Change) cell {
	return cell{row, func(s *scene) string {
		if no := s.try(func(tx *policy.Tx) error { return tx.Apply(c...) }); no != "" {
			return no
		}
		return s.verdict(ask)
	}}
}

// fresh asks a question of two interfaces whose group was just made.
func fresh(row, ask string) cell {
	return cell{row, func(s *scene) string {
		s.edit(func(tx *policy.Tx) error { return tx.NewGroup(newGroup("g")) })
		s.put(nic("i", "g"), nic("j 10.0.0.6 fd00::6", "g"))
		return s.verdict(ask)
	}}
}

// documented asks a question of a document whose group has these lists.
func documented(row, lists, ask string) cell {
	return cell{row, func(s *scene) string {
		snapshot, err := document.Decode([]byte(fmt.Sprintf(`{"profile": %q, "security_groups": [{"id": "g", "name": "g", %s}]}`, s.snapshot().Profile().Name, lists)),
			document.Options{Profiles: profileOf})
		require.NoError(s.t, err)
		g, _ := snapshot.Group("g")
		s.put(policy.PutGroup{Group: g}, nic("i", "g"))
		return s.verdict(ask)
	}}
}

// ofDefault does something with the default group, if there is one.
func ofDefault(row string, do func(s *scene, g *sg.Group) string) cell {
	return cell{row, func(s *scene) string {
		s.put(group("g"))
		g, ok := s.snapshot().DefaultGroup("")
		if !ok {
			return "–"
		}
		s.put(nic("i", g.ID), nic("j 10.0.0.6 fd00::6", g.ID))
		return do(s, g)
	}}
}

// most is how many of something may be, up to limit.
func most(row string, limit int, put func(n int) []policy.Change) cell {
	return cell{row, func(s *scene) string {
		for n := 1; n <= limit; n++ {
			switch no := s.try(func(tx *policy.Tx) error { return tx.Apply(put(n)...) }); no {
			case "":
			case "refused: " + sg.ErrQuota.Error():
				return fmt.Sprint(n - 1)
			default:
				return no
			}
		}
		return "–"
	}}
}

func cells() []cell {
	all := group("g", "in: in v4 any 0.0.0.0/0", "out: out v4 any 0.0.0.0/0")
	closed := group("g", "in: in v4 tcp 1 10.9.9.9", "out: out v4 tcp 1 10.9.9.9")
	smtp := "i out tcp/25 192.0.2.1"
	in, out, out6 := "i in tcp/443 192.0.2.1", "i out tcp/443 192.0.2.1", "i out tcp/443 2001:db8::1"
	ask := func(text string) func(*scene, *sg.Group) string {
		return func(s *scene, _ *sg.Group) string { return s.verdict(text) }
	}
	groups, ids := many(20)
	return []cell{
		given("no group attached: in", in, nic("i")),
		given("no group attached: out", out, nic("i")),
		given("no group, bare metal: in", in, nicOf(sg.Interface{Kind: "bare-metal"}, "i")),
		given("group without rules: in", in, group("g"), nic("i", "g")),
		given("group without rules: out", out, group("g"), nic("i", "g")),
		given("rules for in only: in, another port", in, group("g", "r: in v4 tcp 1 0.0.0.0/0"), nic("i", "g")),
		given("rules for in only: out", out, group("g", "r: in v4 tcp 1 0.0.0.0/0"), nic("i", "g")),
		given("rules for IPv4 only: in, IPv6", "i in tcp/1 2001:db8::1", group("g", "r: in v4 tcp 1 0.0.0.0/0"), nic("i", "g")),
		documented("outbound absent: out", `"inbound_rules": []`, out),
		documented("outbound absent: out, IPv6", `"inbound_rules": []`, out6),
		documented("outbound []: out", `"inbound_rules": [], "outbound_rules": []`, out),
		fresh("new group: in", in),
		fresh("new group: in, TCP from itself", "i in tcp/443 10.0.0.6"),
		fresh("new group: out", out),
		fresh("new group: out, IPv6", out6),
		ofDefault("default group: name", func(_ *scene, g *sg.Group) string { return g.Name }),
		ofDefault("default group: in", ask(in)),
		ofDefault("default group: in, TCP from itself", ask("i in tcp/443 10.0.0.6")),
		ofDefault("default group: in, UDP from itself", ask("i in udp/53 10.0.0.6")),
		ofDefault("default group: out", ask(out)),
		ofDefault("default group: out, IPv6", ask(out6)),
		ofDefault("default group: out, metadata", ask("i out tcp/80 169.254.169.254")),
		ofDefault("default group: edited", func(s *scene, g *sg.Group) string {
			return or(s.try(func(tx *policy.Tx) error { return tx.RemoveRule(g.ID, g.Rules[0].ID) }), "yes")
		}),
		ofDefault("default group: deleted", func(s *scene, g *sg.Group) string {
			return or(s.try(func(tx *policy.Tx) error {
				return tx.Apply(policy.DeleteInterface{ID: "i"}, policy.DeleteInterface{ID: "j"}, policy.DeleteGroup{ID: g.ID})
			}), "yes")
		}),
		given("SMTP out, a rule for all", smtp, all, nic("i", "g")),
		given("SMTP out, no group", smtp, nic("i")),
		given("SMTP out, SMTP enabled", smtp, all, nicOf(sg.Interface{Owner: "alice"}, "i", "g"), policy.PutOwner{Owner: &sg.Owner{ID: "alice", Exempt: []string{"smtp"}}}),
		given("metadata, a rule for 0.0.0.0/0", "i out tcp/80 169.254.169.254", all, nic("i", "g")),
		given("metadata, a rule of its own", "i out tcp/80 169.254.169.254", group("g", "m: out v4 tcp 80 169.254.169.0/24"), nic("i", "g")),
		given("neighbour discovery, no rule", "i out icmpv6/135 fe80::1", closed, nic("i", "g")),
		given("DHCP, no rule", "i out udp/67 255.255.255.255", closed, nic("i", "g")),
		{"open connection, rule removed", func(s *scene) string {
			s.put(group("g", "a: in v4 tcp 443 0.0.0.0/0", "b: in v4 tcp 22 0.0.0.0/0"), nic("i", "g"))
			s.connect(in)
			s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("g", "a") })
			kept := s.engine.Table().Len()
			q := readQuestion(in + " go")
			d, b := q.packet(s.local(q))
			v := s.engine.Port("i").Filter(d, b)
			switch {
			case v.Action == sg.Accept:
				return "keep"
			case kept == 0:
				return "cut"
			}
			return "revalidate"
		}},
		{"announced delay of changes", func(s *scene) string { return s.snapshot().Profile().Propagation.String() }},
		most("groups per interface", 20, func(n int) []policy.Change { return append(slices.Clone(groups), nic("i", ids[:n]...)) }),
		most("groups per instance", 20, func(n int) []policy.Change {
			return append(slices.Clone(groups), policy.PutInstance{Instance: &sg.Instance{ID: "vm", Groups: ids[:n]}})
		}),
		most("rules per group, in, IPv4", 120, func(n int) []policy.Change {
			var rules []string
			for k := range n {
				rules = append(rules, fmt.Sprintf("r%d: in v4 tcp %d 0.0.0.0/0", k, k+1))
			}
			return []policy.Change{group("g", rules...)}
		}),
		most("groups per owner", 20, func(n int) []policy.Change { return []policy.Change{owned("alice", sg.GroupID(fmt.Sprint("g", n)))} }),
		given("rule without IP version: in", in, group("g", "r: in tcp 443 0.0.0.0/0"), nic("i", "g")),
		given("rule for ICMP: in, ICMPv6", "i in icmpv6/128 2001:db8::1", group("g", "r: in icmp any", "x: in v6 tcp 1 ::/0"), nic("i", "g")),
		{"stateless group", func(s *scene) string {
			g := newGroup("g")
			g.Stateless = true
			return or(s.try(func(tx *policy.Tx) error { return tx.Apply(policy.PutGroup{Group: g}) }), "yes")
		}},
		{"group that a rule names, deleted", func(s *scene) string {
			s.put(group("a"), group("b", "r: in v4 tcp 1 group:a"))
			no := s.try(func(tx *policy.Tx) error { return tx.Apply(policy.DeleteGroup{ID: "a"}) })
			return or(no, fmt.Sprintf("%d rules left", len(s.group("b").Rules)))
		}},
	}
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// TestConformanceMatrix asks every profile the same, by running it: the table
// of profiles in the design. The answers are those of testdata/matrix.txt.
func TestConformanceMatrix(t *testing.T) {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "question")
	for _, p := range seven() {
		fmt.Fprint(w, "\t", p.Name)
	}
	for _, c := range cells() {
		fmt.Fprint(w, "\n", c.row)
		for _, p := range seven() {
			t.Run(c.row+"/"+p.Name, func(t *testing.T) { fmt.Fprint(w, "\t", c.run(newScene(t, p))) })
		}
	}
	fmt.Fprintln(w)
	require.NoError(t, w.Flush())
	t.Log("\n" + b.String())
	want, err := os.ReadFile("testdata/matrix.txt")
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "if this is meant, the log above is the new testdata/matrix.txt")
}
