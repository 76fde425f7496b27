package sg

import (
	"fmt"
	"slices"
)

type (
	InstanceID string // InstanceID names an instance, unique within a snapshot.
)

// Instance is a resource of any kind with any number of interfaces. Where the
// profile attaches groups to instances (PerInstance), its groups apply to all
// of them, public and VPC alike.
type Instance struct {
	ID     InstanceID
	Owner  OwnerID
	Kind   string
	Groups []GroupID // attach order; before those of the interface
}

// Clone returns a copy that shares nothing with i.
func (i *Instance) Clone() *Instance {
	c := *i
	c.Groups = slices.Clone(i.Groups)
	return &c
}

// Validate checks i alone and reports every fault as Errors.
func (i *Instance) Validate() error {
	var errs Errors
	errs.addName("id", string(i.ID))
	validateGroupList(&errs, i.Groups)
	return errs.Err()
}

// validateGroupList reports a group that is attached twice.
func validateGroupList(errs *Errors, groups []GroupID) {
	seen := make(map[GroupID]bool, len(groups))
	for n, g := range groups {
		if seen[g] {
			errs.Add(fmt.Sprintf("groups[%d]", n), string(g), ErrDuplicate, "attached twice")
		}
		seen[g] = true
	}
}

// Owner is a user or project, as far as the platform treats it specially.
type Owner struct {
	ID     OwnerID
	Exempt []string // names of platform rules that apply to none of its interfaces ("smtp")
}

// Clone returns a copy that shares nothing with o.
func (o *Owner) Clone() *Owner {
	c := *o
	c.Exempt = slices.Clone(o.Exempt)
	return &c
}

// Validate checks o alone and reports every fault as Errors.
func (o *Owner) Validate() error {
	var errs Errors
	errs.addName("id", string(o.ID))
	return errs.Err()
}
