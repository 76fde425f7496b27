package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/secgroup/sg"
)

// dropVPC takes groups and IP sets out of their VPC, which many formats do not
// have. Those of several VPCs would meet in one place: that is refused.
func (b *bundle) dropVPC() ([]sg.Warning, error) {
	vpcs := map[sg.VPCID]bool{}
	for _, g := range b.groups {
		vpcs[g.VPC] = true
	}
	for _, s := range b.sets {
		if s.VPC != "" { // a set without one may be used everywhere
			vpcs[s.VPC] = true
		}
	}
	if len(vpcs) > 1 {
		return nil, fmt.Errorf("-drop-vpc: groups of several VPCs would become those of one: %q", slices.Sorted(maps.Keys(vpcs)))
	}
	var warnings []sg.Warning
	for vpc := range vpcs {
		if vpc != "" {
			warnings = append(warnings, sg.Warning{Detail: fmt.Sprintf("the VPC %q is not kept: everything was in it", vpc)})
		}
	}
	for i, g := range b.groups {
		b.groups[i] = g.Clone()
		b.groups[i].VPC = ""
	}
	for i, s := range b.sets {
		b.sets[i] = s.Clone()
		b.sets[i].VPC = ""
	}
	return warnings, nil
}

// splitFamilies writes every rule for both IP versions as two, with ids of
// their own: some formats have rules for one only.
func (b *bundle) splitFamilies() []sg.Warning {
	var warnings []sg.Warning
	for i, g := range b.groups {
		c := g.Clone()
		c.Rules = nil
		has := map[sg.Rule]bool{}
		for _, r := range g.Rules {
			has[r.Key()] = true
		}
		for n, r := range g.Rules {
			if b.family(r) != sg.FamilyAny {
				c.Rules = append(c.Rules, r)
				continue
			}
			warnings = append(warnings, sg.Warning{Path: fmt.Sprintf("groups[%q].rules[%d]", string(g.ID), n),
				Detail: fmt.Sprintf("rule %q is written as one for IPv4 and one for IPv6", string(r.ID))})
			for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
				half := r
				half.Family, half.ID = f, r.ID+sg.RuleID("-"+f.String())
				if !has[half.Key()] { // else another rule says it already
					c.Rules = append(c.Rules, half)
				}
			}
		}
		b.groups[i] = c
	}
	return warnings
}

// family is the IP version that a rule is confined to, also by its IP set.
func (b *bundle) family(r sg.Rule) sg.Family {
	if id, ok := r.Peer.Set(); ok && r.EffectiveFamily() == sg.FamilyAny {
		for _, s := range b.sets {
			if s.ID == id {
				return s.Family()
			}
		}
	}
	return r.EffectiveFamily()
}

// nameRules adds to faults of rules which they are: a path counts the rules of
// both directions, other than most formats do.
func (b *bundle) nameRules(err error) error {
	faults, ok := errors.AsType[sg.Errors](err)
	if !ok {
		return err
	}
	ids := map[string]sg.RuleID{}
	for _, g := range b.groups {
		for n, r := range g.Rules {
			ids[fmt.Sprintf("groups[%q].rules[%d]", string(g.ID), n)] = r.ID
		}
	}
	named := make(sg.Errors, len(faults))
	for i, f := range faults {
		c := *f
		named[i] = &c
		id, ok := ids[f.Path]
		if field := strings.LastIndexByte(f.Path, '.'); !ok && field >= 0 {
			id, ok = ids[f.Path[:field]]
		}
		if ok {
			c.Detail += fmt.Sprintf(" (rule %q)", string(id))
		}
	}
	return named
}
