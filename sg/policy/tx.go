package policy

import (
	"slices"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
)

// Tx is one transaction. It sees its own changes. It must not outlive its
// Update call, and is not safe for concurrent use.
type Tx struct {
	by     sg.Actor
	editor *editor
}

// Apply notes changes. Faults that only the outcome can show are reported by
// Update.
func (tx *Tx) Apply(c ...Change) error {
	if tx.editor == nil {
		return ErrTxDone
	}
	for _, ch := range c {
		tx.editor.apply(ch)
	}
	return nil
}

// Attach attaches groups to an interface, behind those it has. A group that
// is attached already stays where it is.
func (tx *Tx) Attach(id sg.InterfaceID, g ...sg.GroupID) error {
	return tx.editGroups(id, func(have []sg.GroupID) []sg.GroupID {
		for _, one := range g {
			if !slices.Contains(have, one) {
				have = append(have, one)
			}
		}
		return have
	})
}

// Detach detaches groups from an interface; those that are not attached are
// passed over.
func (tx *Tx) Detach(id sg.InterfaceID, g ...sg.GroupID) error {
	return tx.editGroups(id, func(have []sg.GroupID) []sg.GroupID {
		return slices.DeleteFunc(have, func(one sg.GroupID) bool { return slices.Contains(g, one) })
	})
}

// SetGroups replaces the whole list of an interface's groups.
func (tx *Tx) SetGroups(id sg.InterfaceID, g ...sg.GroupID) error {
	return tx.editGroups(id, func([]sg.GroupID) []sg.GroupID { return slices.Clone(g) })
}

func (tx *Tx) editGroups(id sg.InterfaceID, edit func([]sg.GroupID) []sg.GroupID) error {
	if tx.editor == nil {
		return ErrTxDone
	}
	i, ok := tx.Interface(id)
	if !ok {
		return &sg.FieldError{Path: interfacePath(id), Err: sg.ErrNotFound}
	}
	c := i.Clone()
	c.Groups = edit(c.Groups)
	return tx.Apply(PutInterface{c})
}

// Group returns a group as the transaction sees it.
func (tx *Tx) Group(id sg.GroupID) (*sg.Group, bool) {
	if tx.editor == nil {
		return nil, false
	}
	return tx.editor.next.Group(id)
}

// Set returns an IP set as the transaction sees it.
func (tx *Tx) Set(id sg.SetID) (*ipset.Set, bool) {
	if tx.editor == nil {
		return nil, false
	}
	return tx.editor.next.Set(id)
}

// Interface returns an interface as the transaction sees it.
func (tx *Tx) Interface(id sg.InterfaceID) (*sg.Interface, bool) {
	if tx.editor == nil {
		return nil, false
	}
	return tx.editor.next.Interface(id)
}
