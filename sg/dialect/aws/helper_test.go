package aws_test

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"example.com/secgroup/sg"
)

// sorted returns groups with their rules in order of id.
func sorted(groups []*sg.Group) []*sg.Group {
	out := make([]*sg.Group, len(groups))
	for i, g := range groups {
		out[i] = g.Clone()
		slices.SortFunc(out[i].Rules, func(a, b sg.Rule) int { return strings.Compare(string(a.ID), string(b.ID)) })
	}
	return out
}

// keys returns what the rules of groups mean, by group.
func keys(groups []*sg.Group) map[sg.GroupID]map[sg.Rule]bool {
	out := map[sg.GroupID]map[sg.Rule]bool{}
	for _, g := range groups {
		out[g.ID] = map[sg.Rule]bool{}
		for _, r := range g.Rules {
			out[g.ID][r.Key()] = true
		}
	}
	return out
}

var (
	genID   = rapid.StringMatching(`sg-[0-9a-f]{1,3}`)
	genText = rapid.StringMatching(`[ -~é世]{0,12}`)
)

func genPrefix(t *rapid.T, f sg.Family) netip.Prefix {
	n := 4
	if f == sg.IPv6 {
		n = 16
	}
	a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "addr"))
	p := netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked()
	if p.Addr().Is4In6() {
		return netip.MustParsePrefix("2001:db8::/32")
	}
	return p
}

// genRule draws a valid rule; sayable confines it to the form that Decode gives.
func genRule(t *rapid.T, sayable bool) sg.Rule {
	r := sg.Rule{
		ID:          sg.RuleID(rapid.StringMatching(`sgr-[0-9a-f]{6}`).Draw(t, "id")),
		Direction:   rapid.SampledFrom([]sg.Direction{sg.Ingress, sg.Egress}).Draw(t, "direction"),
		Protocol:    rapid.SampledFrom([]sg.Protocol{sg.AnyProtocol, sg.TCP, sg.UDP, sg.ICMP, sg.ICMPv6, sg.SCTP, 47, 41, 33, 255}).Draw(t, "protocol"),
		Description: genText.Draw(t, "description"),
	}
	if r.Protocol.HasPorts() {
		last := rapid.Uint16Range(1, 65535).Draw(t, "last")
		r.Ports = sg.PortRange{First: rapid.Uint16Range(0, last).Draw(t, "first"), Last: last}
		if rapid.Bool().Draw(t, "all") || sayable && r.Protocol == sg.SCTP {
			r.Ports = sg.AllPorts()
		}
	}
	if r.Protocol.HasICMP() {
		typ, code := rapid.Uint8().Draw(t, "type"), rapid.Uint8().Draw(t, "code")
		r.ICMP = rapid.SampledFrom([]sg.ICMPMatch{{}, sg.ICMPType(typ), sg.ICMPTypeCode(typ, code)}).Draw(t, "icmp")
	}
	f := r.Protocol.Family()
	if f == sg.FamilyAny {
		f = rapid.SampledFrom([]sg.Family{sg.IPv4, sg.IPv6}).Draw(t, "family")
	}
	if r.Family = sg.FamilyAny; !sayable && rapid.Bool().Draw(t, "explicit") {
		r.Family = f
	}
	switch kind := rapid.IntRange(0, 3).Draw(t, "peer"); {
	case kind == 0:
		r.Peer = sg.PeerGroup(sg.GroupID(genID.Draw(t, "group")))
	case kind == 1:
		r.Peer = sg.PeerSet(sg.SetID(rapid.StringMatching(`pl-[0-9a-f]{1,3}`).Draw(t, "set")))
	case kind == 2 && !sayable:
		r.Peer = sg.PeerAny()
	default:
		r.Peer = sg.PeerCIDR(genPrefix(t, f))
	}
	return r
}

func genGroups(t *rapid.T, sayable bool, least int) []*sg.Group {
	var out []*sg.Group
	for _, id := range rapid.SliceOfNDistinct(genID, 0, 3, rapid.ID).Draw(t, "ids") {
		g := &sg.Group{
			ID: sg.GroupID(id), Name: "n" + genText.Draw(t, "name"), Description: genText.Draw(t, "about"),
			VPC:   sg.VPCID(rapid.SampledFrom([]string{"", "vpc-1"}).Draw(t, "vpc")),
			Scope: sg.User(sg.OwnerID(rapid.SampledFrom([]string{"", "111122223333", "444455556666"}).Draw(t, "owner"))),
		}
		if rapid.IntRange(0, 4).Draw(t, "default") == 0 {
			g.Name, g.Default = "default", true
		}
		ids, seen := map[sg.RuleID]bool{}, map[sg.Rule]bool{}
		for range rapid.IntRange(least, 8).Draw(t, "rules") {
			if r := genRule(t, sayable); !ids[r.ID] && !seen[r.Key()] {
				ids[r.ID], seen[r.Key()] = true, true
				g.Rules = append(g.Rules, r)
			}
		}
		if !sayable {
			g.Stateless = rapid.IntRange(0, 9).Draw(t, "stateless") == 0
			g.Created = time.Unix(int64(rapid.Int32().Draw(t, "created")), 0).UTC()
			if rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
				g.Description = "\xff"
			}
			if rapid.IntRange(0, 9).Draw(t, "blank") == 0 {
				g.ID += " x"
			}
		}
		out = append(out, g)
	}
	return out
}
