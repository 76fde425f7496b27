package nftables

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// API-08: whatever somebody else has changed is found, and repaired by the next
// Apply.
func TestAPI08Drift(t *testing.T) {
	h := newHost(t, Options{})
	s := newSource(t, town([]string{friend, "192.0.2.0/24"}, []string{friend})...)
	h.apply(s.matcher())
	want := h.table()
	h.script("table inet other {\n chain c {\n type filter hook forward priority 5; policy accept;\n counter\n }\n}")
	other := h.nft("-s", "list", "table", "inet", "other")
	kept := h.opened(tcp(friend, 999, 22))

	// name is what the kernel calls the renderer's.
	name := func(s string) string {
		n, ok := h.now.names.m.Get(s)
		require.True(t, ok, s)
		return n
	}
	set := ""
	for logical := range h.now.names.m.All() {
		if isMemberSet(logical) && set == "" && h.now.layout.selectors != nil && len(logical) > 3 && logical[len(logical)-3:] == "_32" {
			set = logical
		}
	}
	require.NotEmpty(t, set)
	for _, c := range []struct {
		what, script string
		finds        func() string
	}{
		{"a rule deleted", "flush chain inet secgroup NAME(known_from)", func() string { return "chain " + name("known_from") + " was changed" }},
		{"a rule added", "insert rule inet secgroup NAME(refuse) accept", func() string { return "chain " + name("refuse") + " was changed" }},
		{"a rule added to a base chain", "insert rule inet secgroup ingress accept", func() string { return "chain ingress was changed" }},
		{"a base chain flushed", "flush chain inet secgroup ingress", func() string { return "chain ingress was changed" }},
		{"a chain added", "add chain inet secgroup mine { type filter hook forward priority -9; policy drop; }", func() string { return "chain mine was added" }},
		{"another chain added", "add chain inet secgroup mine", func() string { return "chain mine was added" }},
		{"a chain's policy changed", "add chain inet secgroup egress { policy drop; }", func() string { return "chain egress was changed" }},
		{"a counter added", "add counter inet secgroup mine", func() string { return "object mine was added" }},
		{"a set added", "add set inet secgroup mine { type ipv4_addr; }", func() string { return "set mine was added" }},
		{"an element added to a map", `add element inet secgroup NAME(ingress_of) { "sg9" : drop }`, func() string { return "set " + name("ingress_of") + " was changed" }},
		{"an element deleted from a map", `delete element inet secgroup NAME(ingress_of) { "sg0" }`, func() string { return "set " + name("ingress_of") + " was changed" }},
		{"an element swapped in a map", "delete element inet secgroup NAME(ingress_of) { \"sg0\" }\nadd element inet secgroup NAME(ingress_of) { \"sg0\" : accept }", func() string { return "set " + name("ingress_of") + " was changed" }},
		{"an address added", `add element inet secgroup NAME(own_v4) { "sg0" . 192.0.2.9 }`, func() string { return "set " + name("own_v4") + " was changed" }},
		{"a member added", "add element inet secgroup NAME(" + set + ") { 203.0.113.66 }", func() string { return "set " + name(set) + " was changed" }},
		{"a member deleted", "delete element inet secgroup NAME(" + set + ") { " + friend + " }", func() string { return "set " + name(set) + " was changed" }},
		{"a member swapped", "delete element inet secgroup NAME(" + set + ") { " + friend + " }\nadd element inet secgroup NAME(" + set + ") { 203.0.113.66 }", func() string { return "set " + name(set) + " was changed" }},
		{"members flushed", "flush set inet secgroup NAME(" + set + ")", func() string { return "set " + name(set) + " was changed" }},
		{"an epoch made current", "add element inet secgroup NAME(epoch) { 0x00004444 }", func() string { return "the epoch was changed" }},
		{"another mark written", "flush chain inet secgroup NAME(mark_src)\nadd rule inet secgroup NAME(mark_src) ct mark set 1", func() string { return "the epoch was changed" }},
		{"the table asleep", "table inet secgroup {\n flags dormant\n}", func() string { return "table was changed" }},
		{"the table flushed", "flush table inet secgroup", func() string { return "chain egress was changed" }},
		{"the table deleted", "delete table inet secgroup", func() string { return "the table is gone" }},
	} {
		t.Run(c.what, func(t *testing.T) {
			require.Empty(t, h.verify())
			h.script(resolve(c.script, name))
			require.Contains(t, h.verify(), c.finds())
			h.apply(s.matcher())
			require.Empty(t, h.verify())
			require.Equal(t, want, h.table())
			// It is found, too, by who does not ask.
			h.script(resolve(c.script, name))
			h.apply(s.change(joins("two", guest)))
			h.apply(s.change(leaves("two", guest)))
			require.Empty(t, h.verify())
			require.Equal(t, want, h.table())
			require.Equal(t, other, h.nft("-s", "list", "table", "inet", "other"))
			h.pass(goesOn(kept)...)
		})
	}
	t.Run("what is none", func(t *testing.T) {
		names := maps.Collect(h.now.names.m.All())
		h.opened(tcp(friend, 2999, 22)) // counts
		h.script("add rule inet other c counter accept")
		require.Empty(t, h.verify())
		h.apply(s.change(joins("two", guest)))
		require.Equal(t, names, maps.Collect(h.now.names.m.All()), "it was replaced")
	})
	t.Run("flush ruleset", func(t *testing.T) {
		h.script("flush ruleset")
		require.Equal(t, []string{"the table is gone"}, h.verify())
		h.apply(s.change(leaves("two", guest)))
		require.Empty(t, h.verify())
		require.Equal(t, want, h.table())
		h.pass(goesOn(kept)...)
	})
}

// resolve puts the names of the kernel into a script.
func resolve(script string, name func(string) string) string {
	return nameIn.ReplaceAllStringFunc(script, func(s string) string { return name(s[len("NAME(") : len(s)-1]) })
}

// TestRunRepairs: whoever edits the table finds it as it was.
func TestRunRepairs(t *testing.T) {
	h := newHost(t, Options{Interval: time.Millisecond})
	h.apply(newSource(t, town([]string{friend}, nil)...).matcher())
	want := h.table()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.lab.Do(func() error { return h.Run(ctx) }) }()
	defer cancel()
	for _, script := range []string{"flush ruleset", "flush table inet secgroup", "insert rule inet secgroup ingress accept", "table inet secgroup {\n flags dormant\n}"} {
		h.script(script)
		repaired := false
		for range 2000 {
			if listing, err := h.lab.Run(t.Context(), "", "nft", "-s", "list", "table", "inet", "secgroup"); err == nil && canonical(listing) == want && !strings.Contains(listing, "dormant") {
				repaired = true
				break
			}
		}
		require.True(t, repaired, script)
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Empty(t, h.verify())
}

// TestForeignTable: a table of the same name is not touched.
func TestForeignTable(t *testing.T) {
	const script = "table inet secgroup {\n comment \"mine\"\n set s {\n type ipv4_addr\n elements = { 192.0.2.1 }\n }\n chain c {\n type filter hook forward priority 5; policy accept;\n ip saddr @s drop\n }\n}"
	h := newHost(t, Options{})
	h.script(script)
	before := h.nft("list", "ruleset")
	m := newSource(t, town([]string{friend}, nil)...).matcher()
	for op, f := range map[string]func() error{
		"apply":   func() error { return h.Apply(t.Context(), m) },
		"prepare": func() error { return h.Prepare(t.Context()) },
		"check":   func() error { return h.Check(t.Context(), m) },
		"remove":  func() error { return h.Remove(t.Context()) },
	} {
		err := h.lab.Do(f)
		require.ErrorIs(t, err, ErrForeign)
		var e *Error
		require.True(t, errors.As(err, &e))
		require.Equal(t, op, e.Op)
		require.Contains(t, e.Detail, "delete it, or choose another Options.Table")
		require.Equal(t, before, h.nft("list", "ruleset"))
	}
	h.script("delete table inet secgroup")
	h.apply(m)
	// Somebody puts theirs in the place of ours.
	h.script("delete table inet secgroup\n" + script)
	require.ErrorIs(t, h.tryApply(m), ErrForeign)
	require.Equal(t, before, h.nft("list", "ruleset"))
	h.script("delete table inet secgroup")
	h.apply(m)
	require.Empty(t, h.verify())

	next := h.another(Options{Table: "elsewhere"})
	h.script("delete table inet secgroup\n" + script)
	next.apply(m)
	next.apply(newSource(t, town([]string{friend}, nil, policy.DeleteInterface{ID: "sg1"})...).matcher())
	next.do(next.Remove)
	require.Equal(t, before, h.nft("list", "ruleset"))
}

// TestBusyNeighbours: what others do to their tables all the time costs nothing
// and spoils nothing.
func TestBusyNeighbours(t *testing.T) {
	var log bytes.Buffer
	h := newHost(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s := newSource(t, town([]string{friend}, []string{friend})...)
	h.apply(s.matcher())
	h.script("table inet busy {\n set s {\n type ipv4_addr\n }\n}")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- h.lab.Do(func() error {
			k, err := dial("busy", maphash.MakeSeed())
			if err != nil {
				return err
			}
			defer k.close()
			for ctx.Err() == nil {
				list := []netip.Addr{addr(guest)}
				if err := errors.Join(k.edit([]setEdit{{name: "s", add: list}}, nil), k.edit([]setEdit{{name: "s", remove: list}}, nil)); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	names := maps.Collect(h.now.names.m.All())
	for range 50 {
		h.apply(s.change(joins("one", guest)))
		h.apply(s.change(leaves("one", guest)))
	}
	require.Equal(t, names, maps.Collect(h.now.names.m.All()), "it was replaced")
	web, _ := s.snapshot.Group("web")
	more := web.Clone()
	more.Rules = append(more.Rules, sg.Rule{ID: "more", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(8080), Peer: sg.PeerSet("one")})
	for range 5 {
		h.apply(s.change(policy.PutGroup{Group: more}))
		h.apply(s.change(policy.PutGroup{Group: web}))
	}
	stop()
	require.NoError(t, <-ended)
	require.Empty(t, h.verify())
	require.Less(t, strings.Count(log.String(), "replacing the table"), 10, log.String())
	require.NotContains(t, log.String(), "somebody else")
}
