package sg

import (
	"fmt"
	"net/netip"
	"slices"
)

// Interface is where groups attach: the unit of enforcement and of membership.
type Interface struct {
	ID       InterfaceID
	VPC      VPCID
	Owner    OwnerID
	Instance InstanceID     // empty: it belongs to none
	Kind     string         // what it belongs to ("vm", "bare-metal", "bucket"); profiles may ask
	Addrs    []netip.Prefix // addresses and delegated prefixes of the interface
	Groups   []GroupID      // attach order; decides which rule a verdict names
	Exempt   []string       // names of platform rules that do not apply ("smtp")

	// SourceGuard drops egress from, and ingress to, addresses that are in
	// neither Addrs nor Allowed, and ingress from addresses in Addrs.
	SourceGuard bool
	Allowed     []netip.Prefix // further addresses the guard lets pass (virtual IPs, forwarding)
}

// Clone returns a copy that shares nothing with i.
func (i *Interface) Clone() *Interface {
	c := *i
	c.Addrs = slices.Clone(i.Addrs)
	c.Groups = slices.Clone(i.Groups)
	c.Exempt = slices.Clone(i.Exempt)
	c.Allowed = slices.Clone(i.Allowed)
	return &c
}

// Validate checks i alone and reports every fault as Errors.
func (i *Interface) Validate() error {
	var errs Errors
	errs.addName("id", string(i.ID))
	validatePrefixes(&errs, "addrs", i.Addrs)
	for n, p := range i.Addrs {
		if p.IsValid() && p.Bits() == 0 {
			// As a member it would turn a rule for its group into a rule for all.
			errs.Add(fmt.Sprintf("addrs[%d]", n), p, ErrInvalid, "an interface has not every address; see Allowed")
		}
	}
	validatePrefixes(&errs, "allowed", i.Allowed)
	validateGroupList(&errs, i.Groups)
	return errs.Err()
}

func validatePrefixes(errs *Errors, field string, list []netip.Prefix) {
	seen := make(map[netip.Prefix]bool, len(list))
	for n, p := range list {
		path := fmt.Sprintf("%s[%d]", field, n)
		if why := CheckPrefix(p); why != "" {
			errs.Add(path, p, ErrInvalid, why)
		} else if seen[p] {
			errs.Add(path, p, ErrDuplicate, "")
		}
		seen[p] = true
	}
}
