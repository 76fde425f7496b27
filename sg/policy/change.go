package policy

import (
	"net/netip"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
)

// Change is one step between snapshots. The set of changes is closed. What a
// change points to must not be modified afterwards.
type Change interface{ isChange() }

type (
	// PutGroup creates or replaces a group.
	PutGroup struct{ Group *sg.Group }

	// EditGroup changes rules of a group, at a cost of their number, not of the
	// group's: it takes rules away, then replaces others, then adds some behind
	// those that there are. It leads to what PutGroup of the whole group would
	// lead to, or fails as that would. A rule to remove that is not there is
	// passed over; one to replace that is not there is sg.ErrNotFound.
	EditGroup struct {
		ID      sg.GroupID
		Remove  []sg.RuleID
		Replace []sg.Rule // each for the rule of the same id, in its place
		Add     []sg.Rule
	}

	// DeleteGroup deletes a group and detaches it everywhere. It fails with
	// sg.ErrInUse while a rule of another group refers to it.
	DeleteGroup struct{ ID sg.GroupID }

	// PutSet creates or replaces an IP set.
	PutSet struct{ Set *ipset.Set }

	// DeleteSet deletes an IP set. It fails with sg.ErrInUse while a rule
	// refers to it.
	DeleteSet struct{ ID sg.SetID }

	// EditSet adds and removes entries at a cost of their number. Entries that
	// are there already, or not there any more, are passed over.
	EditSet struct {
		ID     sg.SetID
		Add    []ipset.Entry
		Remove []netip.Prefix
	}

	// PutInterface creates or replaces an interface.
	PutInterface struct{ Interface *sg.Interface }

	// DeleteInterface deletes an interface.
	DeleteInterface struct{ ID sg.InterfaceID }

	// PutInstance creates or replaces an instance.
	PutInstance struct{ Instance *sg.Instance }

	// DeleteInstance deletes an instance. It fails with sg.ErrInUse while an
	// interface belongs to it.
	DeleteInstance struct{ ID sg.InstanceID }

	// PutOwner creates or replaces what is special about an owner.
	PutOwner struct{ Owner *sg.Owner }

	// DeleteOwner forgets it.
	DeleteOwner struct{ ID sg.OwnerID }
)

func (PutGroup) isChange()        {}
func (EditGroup) isChange()       {}
func (DeleteGroup) isChange()     {}
func (PutSet) isChange()          {}
func (DeleteSet) isChange()       {}
func (EditSet) isChange()         {}
func (PutInterface) isChange()    {}
func (DeleteInterface) isChange() {}
func (PutInstance) isChange()     {}
func (DeleteInstance) isChange()  {}
func (PutOwner) isChange()        {}
func (DeleteOwner) isChange()     {}

// Revision numbers the committed states of a Store, from 1. The empty state
// that a store begins with is revision 0.
type Revision uint64

// Batch is what one transaction changed, in an order in which it can be
// applied again. Consequences are spelled out: the batch of a DeleteGroup has
// a PutInterface for each interface that lost the group, and that of a
// PutInstance or PutOwner one for each interface that it concerns.
type Batch struct {
	Revision Revision
	Changes  []Change
}
