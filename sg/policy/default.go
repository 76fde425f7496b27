package policy

import (
	"fmt"

	"example.com/secgroup/sg"
)

// addDefaults gives every VPC that the transaction touched its default group,
// if the profile has one. It belongs to whom the first object there belongs.
func (e *editor) addDefaults() {
	if len(e.next.profile.DefaultGroup) == 0 {
		return
	}
	e.settleDefaults()
	for _, id := range sorted(e.groups) {
		if g, ok := e.next.header(id); ok {
			e.addDefault(g.VPC, g.Scope)
		}
	}
	for _, id := range sorted(e.interfaces) {
		if i, ok := e.next.interfaces.Get(id); ok {
			e.addDefault(i.VPC, sg.User(i.Owner))
		}
	}
}

// settleDefaults finds the default group of a VPC whose own went while another,
// put before that, was there. Such a one was touched.
func (e *editor) settleDefaults() {
	for _, id := range sorted(e.groups) {
		if g, ok := e.next.header(id); ok && g.Default {
			if _, has := e.next.defaults.Get(g.VPC); !has {
				e.next.defaults.Set(g.VPC, id)
			}
		}
	}
}

func (e *editor) addDefault(vpc sg.VPCID, scope sg.Scope) {
	if _, has := e.next.defaults.Get(vpc); has {
		return
	}
	base := sg.GroupID("default")
	if vpc != "" {
		base = sg.GroupID("default-" + string(vpc))
	}
	id := base
	for n := 2; ; n++ {
		if _, taken := e.next.header(id); !taken {
			break
		}
		id = sg.GroupID(fmt.Sprintf("%s-%d", base, n))
	}
	g := &sg.Group{ID: id, Name: "default", VPC: vpc, Scope: scope, Default: true, Description: "made by the platform"}
	for n := 2; e.next.nameTaken(g); n++ {
		g.Name = fmt.Sprintf("default-%d", n)
	}
	for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
		g.Rules = append(g.Rules, sg.Template(e.next.profile.DefaultGroup, id, d)...)
	}
	e.putGroup(g)
}

// nameTaken reports whether another group of g's VPC and scope has its name.
func (s *Snapshot) nameTaken(g *sg.Group) bool {
	want := s.nameOf(g)
	want.group = ""
	for n := range s.names.From(want) {
		if n.vpc != want.vpc || n.scope != want.scope || n.name != want.name {
			return false
		}
		if n.group != g.ID {
			return true
		}
	}
	return false
}

// lasting reports what no transaction of a Store may do to an object that is
// there: delete a default group, or make it an ordinary one; change the version
// of an IP set that has entries.
func (e *editor) lasting() {
	for _, id := range sorted(e.groups) {
		old, had := e.base.header(id)
		if !had || !old.Default {
			continue
		}
		g, has := e.next.header(id)
		switch {
		case !has:
			e.errs.Add(groupPath(id), nil, sg.ErrForbidden, "the default group can not be deleted")
		case !g.Default || g.VPC != old.VPC:
			e.errs.Add(groupPath(id)+".default", nil, sg.ErrForbidden, "the default group of a VPC stays its default group")
		}
	}
	for _, id := range sorted(e.sets) {
		old, had := e.base.sets.Get(id)
		if s, has := e.next.sets.Get(id); had && has && old.Len() > 0 && old.Family() != s.Family() {
			e.errs.Add(setPath(id)+".ip_version", s.Family(), sg.ErrInUse, "the set has entries")
		}
	}
}

// defaultGroup judges what makes a default group: there is one per VPC, only
// where the profile has any.
func (e *editor) defaultGroup(id sg.GroupID) {
	path := groupPath(id)
	g, has := e.next.header(id)
	switch {
	case has && g.Default && len(e.next.profile.DefaultGroup) == 0:
		e.errs.Add(path+".default", true, sg.ErrUnsupported, "profile "+e.next.profile.Name+" has no default group")
	case has && g.Default:
		if first, _ := e.next.defaults.Get(g.VPC); first != id {
			e.errs.Add(path+".default", true, sg.ErrDuplicate, "the VPC has the default group "+string(first))
		}
	}
}
