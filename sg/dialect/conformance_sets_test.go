package dialect_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

// setClaims are those of section 1.5, IP sets, all of the panel.
func setClaims() []claim {
	office := func() policy.Change { return set("office", sg.IPv4, "198.51.100.0/24") }
	uses := group("g", "r: in v4 tcp 443 set:office")
	panel := under(hypervisor.Profile())
	return []claim{
		{
			id: "IP-01", under: panel,
			policy: []policy.Change{
				set("office", sg.IPv4, "198.51.100.0/24", "192.0.2.1"), group("g", "a: in v4 tcp 22 set:office", "b: in v4 tcp 80 set:office"),
				group("h", "c: out v4 any set:office"), nic("i", "g", "h"),
			},
			ask: []string{
				"i in tcp/22 198.51.100.1 -> accept rule g/a", "i in tcp/80 192.0.2.1 -> accept rule g/b", "i out udp/53 192.0.2.1 -> accept rule h/c",
				"i in tcp/22 192.0.2.2 -> drop no_rule", "i out udp/53 192.0.2.2 -> drop no_rule",
			},
		},
		{
			id: "IP-02", under: panel,
			then: func(t *testing.T, s *scene) {
				s.refusePut(sg.ErrRequired, `sets["x"].name`, policy.PutSet{Set: &ipset.Set{ID: "x"}})
				snap, err := document.Decode([]byte(`{"profile": "hypervisor", "ip_sets": [
					{"id": "a", "name": "office", "description": "of the firm", "ip_version": "ipv4"}, {"id": "b", "name": "lab", "ip_version": "ipv6"}]}`),
					document.Options{Profiles: profileOf})
				require.NoError(t, err)
				a, _ := snap.Set("a")
				b, _ := snap.Set("b")
				require.Equal(t, []string{"office", "of the firm", "lab", ""}, []string{a.Name, a.Description, b.Name, b.Description})
				require.Equal(t, []sg.Family{sg.IPv4, sg.IPv6}, []sg.Family{a.Family(), b.Family()})
				_, err = document.Decode([]byte(`{"profile": "hypervisor", "ip_sets": [{"id": "a", "name": "office", "ip_version": "ipv5"}]}`), document.Options{Profiles: profileOf})
				fault(t, err, sg.ErrInvalid, "ip_sets[0].ip_version")
			},
		},
		{
			id: "IP-03", under: panel, policy: []policy.Change{office()},
			then: func(t *testing.T, s *scene) {
				mine := func(owner sg.OwnerID) policy.Change {
					return policy.PutSet{Set: ipset.New("mine", sg.IPv4, sg.User(owner))}
				}
				s.refuse(alice(), sg.ErrForbidden, `sets["office"]`, func(tx *policy.Tx) error { return tx.Apply(policy.EditSet{ID: "office", Add: entries("10.0.0.1/32")}) })
				s.refuse(alice(), sg.ErrForbidden, `sets["office"]`, func(tx *policy.Tx) error { return tx.Apply(policy.DeleteSet{ID: "office"}) })
				s.refuse(alice(), sg.ErrForbidden, `sets["mine"]`, func(tx *policy.Tx) error { return tx.Apply(mine("")) }) // blank is global
				s.do(alice(), func(tx *policy.Tx) error { return tx.Apply(mine("alice")) })
				s.do(alice(), func(tx *policy.Tx) error {
					return tx.Apply(owned("alice", "g", "a: in v4 tcp 1 set:office", "b: in v4 tcp 2 set:mine")) // visible to her
				})
				s.refuse(bob(), sg.ErrForbidden, `groups["h"].rules[0].peer`, func(tx *policy.Tx) error { return tx.Apply(owned("bob", "h", "b: in v4 tcp 2 set:mine")) })
				s.refuse(bob(), sg.ErrForbidden, `sets["mine"]`, func(tx *policy.Tx) error { return tx.Apply(policy.EditSet{ID: "mine", Add: entries("10.0.0.1/32")}) })
				s.put(policy.EditSet{ID: "office", Add: entries("10.0.0.1/32")})
				require.Equal(t, sg.Global(), ipset.New("x", sg.IPv4, sg.User("")).Scope)
			},
		},
		{
			id: "IP-04", under: panel, policy: []policy.Change{office(), uses, nic("i", "g")},
			then: func(t *testing.T, s *scene) {
				s.ask("i in tcp/443 192.0.2.1 -> drop no_rule", "i in tcp/443 192.0.2.2 -> drop no_rule")
				s.put(policy.EditSet{ID: "office", Add: []ipset.Entry{{Prefix: must(ipset.ParseEntry("192.0.2.1")), Description: "the boss"}}})
				s.put(policy.EditSet{ID: "office", Add: entries("192.0.2.2/32")})
				s.ask("i in tcp/443 192.0.2.1 -> accept rule g/r", "i in tcp/443 192.0.2.2 -> accept rule g/r")
				is, _ := s.snapshot().Set("office")
				note, ok := is.Note(must(ipset.ParseEntry("192.0.2.1")))
				require.True(t, ok)
				require.Equal(t, "the boss", note)
			},
		},
		{
			id: "IP-05",
			without: func(t *testing.T) {
				for in, want := range map[string]string{"10.0.0.1": "10.0.0.1/32", "2001:db8::1": "2001:db8::1/128", "192.168.1.0/24": "192.168.1.0/24"} {
					p, err := ipset.ParseEntry(in)
					require.NoError(t, err)
					require.Equal(t, want, p.String())
				}
				s := ipset.New("s", sg.IPv4, sg.Global())
				require.Len(t, s.AddLines("10.0.0.1\n10.0.0.1/32").Duplicates, 1, "one entry, however written")
			},
		},
		{
			id: "IP-06", under: panel, policy: []policy.Change{office(), uses, nic("i", "g")},
			then: func(t *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error {
					r, err := tx.AddLines("office", "192.0.2.1\n\n10.9.0.0/16 # branch\r\n203.0.113.7")
					require.Len(t, r.Added, 3)
					require.NoError(t, r.Err())
					return err
				})
				s.ask("i in tcp/443 192.0.2.1 -> accept rule g/r", "i in tcp/443 10.9.1.1 -> accept rule g/r", "i in tcp/443 203.0.113.7 -> accept rule g/r",
					"i in tcp/443 203.0.113.8 -> drop no_rule")
			},
		},
		{
			id: "IP-07", under: panel, policy: []policy.Change{office(), uses, nic("i", "g")},
			then: func(t *testing.T, s *scene) {
				var r ipset.Report
				s.edit(func(tx *policy.Tx) (err error) {
					r, err = tx.AddLines("office", "198.51.100.0/24\n192.0.2.1\nrubbish\n192.0.2.1\n10.0.0.1/8\n2001:db8::1\n192.0.2.9")
					return err
				})
				require.Len(t, r.Added, 2)
				require.Equal(t, []int{1, 4}, lineNumbers(r.Duplicates))
				require.Equal(t, []int{3, 5, 6}, lineNumbers(r.Invalid))
				fault(t, r.Err(), sg.ErrInvalid, "line[3]")
				fault(t, r.Err(), sg.ErrInvalid, "line[5]")
				fault(t, r.Err(), sg.ErrFamily, "line[6]")
				require.NotErrorIs(t, r.Err(), sg.ErrDuplicate, "skipped silently")
				s.ask("i in tcp/443 192.0.2.1 -> accept rule g/r", "i in tcp/443 192.0.2.9 -> accept rule g/r", "i in tcp/443 10.0.0.1 -> drop no_rule")
			},
		},
		{
			id: "IP-08", under: panel, policy: []policy.Change{set("office", sg.IPv4, "198.51.100.0/24", "192.0.2.1"), uses, nic("i", "g")},
			then: func(_ *testing.T, s *scene) {
				s.connect("i in tcp/443 192.0.2.1")
				s.put(policy.EditSet{ID: "office", Remove: prefixesOf(entries("192.0.2.1/32"))})
				s.pass("i in tcp/443 192.0.2.1 go -> drop")
				s.ask("i in tcp/443 192.0.2.1 -> drop no_rule", "i in tcp/443 198.51.100.1 -> accept rule g/r")
			},
		},
		{
			id: "IP-09", under: panel, policy: []policy.Change{office(), set("empty", sg.IPv4)},
			then: func(t *testing.T, s *scene) {
				is, _ := s.snapshot().Set("office")
				err := is.Clone().SetFamily(sg.IPv6)
				fault(t, err, sg.ErrInUse, "ip_version")
				s.refusePut(sg.ErrInUse, `sets["office"].ip_version`, set("office", sg.IPv6, "2001:db8::1"))
				s.put(set("empty", sg.IPv6)) // no entries yet
				is, _ = s.snapshot().Set("empty")
				require.Equal(t, sg.IPv6, is.Family())
			},
		},
		{
			id: "IP-10", under: panel, policy: []policy.Change{office(), uses, nic("i", "g")},
			then: func(t *testing.T, s *scene) {
				s.refusePut(sg.ErrInUse, `sets["office"]`, policy.DeleteSet{ID: "office"})
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("g", "r") })
				s.put(policy.DeleteSet{ID: "office"})
				_, ok := s.snapshot().Set("office")
				require.False(t, ok)
			},
		},
		{
			id: "IP-11", under: panel, policy: []policy.Change{office()},
			then: func(_ *testing.T, s *scene) {
				s.refusePut(sg.ErrFamily, `sets["office"].entries`, policy.EditSet{ID: "office", Add: entries("2001:db8::1/128")})
				is, _ := s.snapshot().Set("office")
				require.ErrorIs(s.t, is.Clone().Add(entries("2001:db8::1/128")[0]), sg.ErrFamily)
			},
		},
	}
}

func entries(texts ...string) (out []ipset.Entry) {
	for _, text := range texts {
		out = append(out, ipset.Entry{Prefix: must(ipset.ParseEntry(text))})
	}
	return out
}

func lineNumbers(lines []ipset.Line) (out []int) {
	for _, l := range lines {
		out = append(out, l.Number)
	}
	slices.Sort(out)
	return out
}

func prefixesOf(list []ipset.Entry) (out []netip.Prefix) {
	for _, e := range list {
		out = append(out, e.Prefix)
	}
	return out
}
