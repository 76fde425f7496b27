package policy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

var hows = []string{"attach", "detach", "set"}

// change is what a step of one object comes to: the object that is put, or
// why not.
func change(c policy.Change, err error) ([]policy.Change, error) {
	if err != nil {
		return nil, err
	}
	return []policy.Change{c}, nil
}

func newGroup(g *sg.Group) step {
	return step{
		"NewGroup " + text(g),
		func(tx *policy.Tx) error { return tx.NewGroup(g) },
		func(m *model, _ sg.Actor) ([]policy.Change, error) {
			if m.groups[g.ID] != nil {
				return nil, sg.ErrDuplicate
			}
			c := g.Clone()
			c.Rules = append(m.template(m.profile.NewGroup, g.ID), g.Rules...)
			return change(policy.PutGroup{Group: c}, nil)
		},
	}
}

func copyGroup(from, id sg.GroupID, name string, scope sg.Scope) step {
	return step{
		fmt.Sprintf("CopyGroup %s %s %s %s", from, id, name, scope),
		func(tx *policy.Tx) error { return tx.CopyGroup(from, id, name, scope) },
		func(m *model, by sg.Actor) ([]policy.Change, error) {
			switch {
			case m.groups[from] == nil:
				return nil, sg.ErrNotFound
			case !by.CanView(m.groups[from].Scope):
				return nil, sg.ErrForbidden
			case m.groups[id] != nil:
				return nil, sg.ErrDuplicate
			}
			c := m.groups[from].Clone()
			c.ID, c.Name, c.Scope, c.Default = id, name, scope, false
			for n, r := range c.Rules {
				if r.Peer == sg.PeerGroup(from) {
					c.Rules[n].Peer = sg.PeerGroup(id)
				}
			}
			return change(policy.PutGroup{Group: c}, nil)
		},
	}
}

func addRules(id sg.GroupID, rules []sg.Rule) step {
	return step{
		fmt.Sprintf("AddRules %s %v", id, rules),
		func(tx *policy.Tx) error { return tx.AddRules(id, rules...) },
		func(m *model, by sg.Actor) ([]policy.Change, error) {
			switch {
			case m.groups[id] == nil:
				return nil, sg.ErrNotFound
			case !by.CanView(m.groups[id].Scope):
				return nil, sg.ErrForbidden
			}
			c := m.groups[id].Clone()
			c.Rules = append(c.Rules, rules...)
			sg.AssignIDs(c.Rules)
			return change(policy.PutGroup{Group: c}, nil)
		},
	}
}

func removeRule(id sg.GroupID, rule sg.RuleID) step {
	return step{
		fmt.Sprintf("RemoveRule %s %s", id, rule),
		func(tx *policy.Tx) error { return tx.RemoveRule(id, rule) },
		func(m *model, by sg.Actor) ([]policy.Change, error) {
			switch {
			case m.groups[id] == nil:
				return nil, sg.ErrNotFound
			case !by.CanView(m.groups[id].Scope):
				return nil, sg.ErrForbidden
			}
			c := m.groups[id].Clone()
			for n, r := range c.Rules {
				if r.ID == rule {
					c.Rules = slices.Delete(c.Rules, n, n+1) // ids can be double until commit
					return change(policy.PutGroup{Group: c}, nil)
				}
			}
			return nil, sg.ErrNotFound
		},
	}
}

// line is one line for AddLines, and what it says.
type line struct {
	text  string
	entry ipset.Entry
	ok    bool
}

func lineOf(text, cidr, note string) line {
	return line{text, ipset.Entry{Prefix: prefix(cidr), Description: note}, true}
}

var lines = []line{
	lineOf("10.0.0.1", "10.0.0.1/32", ""), lineOf(" 10.0.0.0/24 # x", "10.0.0.0/24", "x"), lineOf("10.0.0.0/24", "10.0.0.0/24", ""),
	lineOf("FD00::1", "fd00::1/128", ""), {text: "10.0.0.1/8"}, {text: "oops # x"},
}

func addLines(id sg.SetID, list []line) step {
	var all []string
	for _, l := range list {
		all = append(all, l.text)
	}
	counts := "no report"
	return step{
		fmt.Sprintf("AddLines %s %q", id, all),
		func(tx *policy.Tx) error {
			report, err := tx.AddLines(id, strings.Join(all, "\n"))
			counts = fmt.Sprint(len(report.Added), len(report.Duplicates), len(report.Invalid))
			return err
		},
		func(m *model, by sg.Actor) ([]policy.Change, error) {
			switch {
			case m.sets[id] == nil:
				return nil, sg.ErrNotFound
			case !by.CanView(m.sets[id].Scope):
				return nil, sg.ErrForbidden
			}
			c, s := policy.EditSet{ID: id}, copySet(m.sets[id])
			duplicates, invalid := 0, 0
			for _, l := range list {
				switch {
				case !l.ok || !s.Family().Matches(sg.FamilyOf(l.entry.Prefix.Addr())):
					invalid++
				case s.Has(l.entry.Prefix):
					duplicates++
				default:
					_ = s.Add(l.entry)
					c.Add = append(c.Add, l.entry)
				}
			}
			if want := fmt.Sprint(len(c.Add), duplicates, invalid); counts != want {
				return nil, errors.New("AddLines reports " + counts + ", not " + want)
			}
			return change(c, nil)
		},
	}
}

// regrouped is a list of groups after an edit.
func regrouped(have []sg.GroupID, how string, list []sg.GroupID) []sg.GroupID {
	switch how {
	case "attach":
		return plus(have, list)
	case "detach":
		return minus(have, list)
	}
	return slices.Clone(list)
}

// regroup is the interface with its groups edited.
func (m *model) regroup(id sg.InterfaceID, how string, list []sg.GroupID) (policy.Change, error) {
	if m.interfaces[id] == nil {
		return nil, sg.ErrNotFound
	}
	c := m.interfaces[id].Clone()
	c.Groups = regrouped(c.Groups, how, list)
	return policy.PutInterface{Interface: c}, nil
}

func regroup(id sg.InterfaceID, how string, list []sg.GroupID) step {
	return step{
		fmt.Sprintf("%s %s %v", how, id, list),
		func(tx *policy.Tx) error {
			switch how {
			case "attach":
				return tx.Attach(id, list...)
			case "detach":
				return tx.Detach(id, list...)
			}
			return tx.SetGroups(id, list...)
		},
		func(m *model, _ sg.Actor) ([]policy.Change, error) { return change(m.regroup(id, how, list)) },
	}
}

func regroupMany(g sg.GroupID, how string, interfaces []sg.InterfaceID) step {
	return step{
		fmt.Sprintf("%s %s %v", how, g, interfaces),
		func(tx *policy.Tx) error {
			if how == "attach" {
				return tx.AttachInterfaces(g, interfaces...)
			}
			return tx.DetachInterfaces(g, interfaces...)
		},
		func(m *model, _ sg.Actor) (all []policy.Change, _ error) {
			for _, id := range interfaces {
				c, err := m.regroup(id, how, []sg.GroupID{g})
				if err != nil {
					return all, err // those before it are done
				}
				all = append(all, c)
			}
			return all, nil
		},
	}
}

func regroupInstance(id sg.InstanceID, how string, list []sg.GroupID) step {
	return step{
		fmt.Sprintf("%s %s %v", how, id, list),
		func(tx *policy.Tx) error {
			switch how {
			case "attach":
				return tx.AttachInstance(id, list...)
			case "detach":
				return tx.DetachInstance(id, list...)
			}
			return tx.SetInstanceGroups(id, list...)
		},
		func(m *model, _ sg.Actor) ([]policy.Change, error) {
			if m.instances[id] == nil {
				return nil, sg.ErrNotFound
			}
			c := m.instances[id].Clone()
			c.Groups = regrouped(c.Groups, how, list)
			return change(policy.PutInstance{Instance: c}, nil)
		},
	}
}

func setExempt(id sg.OwnerID, names []string) step {
	return step{
		fmt.Sprintf("SetExempt %s %v", id, names),
		func(tx *policy.Tx) error { return tx.SetExempt(id, names...) },
		func(m *model, _ sg.Actor) ([]policy.Change, error) {
			switch {
			case len(names) > 0:
				return change(policy.PutOwner{Owner: &sg.Owner{ID: id, Exempt: names}}, nil)
			case m.owners[id] != nil:
				return change(policy.DeleteOwner{ID: id}, nil)
			}
			return nil, nil
		},
	}
}
