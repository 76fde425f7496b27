package sg

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// PlatformRule is an operator rule that no group can change.
type PlatformRule struct {
	Name   string // e.g. "smtp"; Interface.Exempt refers to it
	Action Action
	Rule   Rule // Peer is a CIDR, or any
}

// Profile is everything in which clouds differ. It is data, not behaviour:
// compile lowers it into explicit rules and no backend ever sees it. All
// but Name may be left out, and then it is the strictest: nothing is allowed
// that no rule allows.
type Profile struct {
	Name           string
	Unattached     Action         // interface without groups
	EmptyDirection Action         // groups attached, none has a rule in this direction
	Established    Established    // tracked connections after a change
	RequireGroup   bool           // an interface must have at least one group
	UngroupedKinds []string       // interface kinds that RequireGroup exempts
	RequireFamily  bool           // rules must name their IP version
	AllowStateless bool           // groups may be stateless
	NewGroup       []Rule         // rules a new group starts with in each direction whose list is absent; see SelfGroup
	DefaultGroup   []Rule         // rules of the "default" group that every VPC has and nobody can delete; none: there is none
	Unit           Unit           // what groups attach to, and quotas count on
	OnReferenced   OnReferenced   // what deleting a group does to rules of others that name it
	NamesPerScope  bool           // group names are unique within VPC and scope, not within the VPC
	Platform       []PlatformRule // before every group rule, in order; the first match decides
	BeyondAny      []PlatformRule // what rules for any peer do not cover: behind the rules that name a peer, before those for any
	ICMPCoversIPv6 bool           // a rule for every ICMP message means ICMPv6 in IPv6
	Quota          Quota
	Propagation    time.Duration // documented bound for a change to take effect; 0 = at once
}

// Unit is what groups attach to.
type Unit uint8

const (
	PerInterface Unit = iota // an interface
	PerInstance              // an instance (any kind of resource): its groups apply to all its interfaces
)

// String is "interface" or "instance".
func (u Unit) String() string { return text(u, "unit", "interface", "instance") }

// OnReferenced says what deleting a group does to rules of other groups that
// name it as their peer.
type OnReferenced uint8

const (
	Restrict OnReferenced = iota // refuse with ErrInUse, naming who refers to it
	Cascade                      // delete those rules too
)

// String is "restrict" or "cascade".
func (r OnReferenced) String() string { return text(r, "on referenced", "restrict", "cascade") }

// text is the name of v, or what it is and its number.
func text[T ~uint8](v T, what string, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return what + " " + strconv.Itoa(int(v))
}

// SelfGroup stands, in Profile.NewGroup and Profile.DefaultGroup, for the
// group that the rules are being put into.
const SelfGroup GroupID = "@self"

// Quota limits counts; zero means unlimited.
type Quota struct {
	GroupsPerInterface, RulesPerGroup, RulesPerInterface, GroupsPerOwner, EntriesPerSet int
	RulesPerDirection                                                                   int // of one group, per direction and family
}

// Template returns the rules of tmpl in direction d as rules of the group id.
func Template(tmpl []Rule, id GroupID, d Direction) []Rule {
	var out []Rule
	for _, r := range tmpl {
		if r.Direction != d {
			continue
		}
		if g, ok := r.Peer.Group(); ok && g == SelfGroup {
			r.Peer = PeerGroup(id)
		}
		out = append(out, r)
	}
	return out
}

// Validate checks p's own rules and reports every fault as Errors.
func (p *Profile) Validate() error {
	var errs Errors
	errs.addName("name", p.Name)
	_, err := p.Unattached.MarshalText()
	errs.Merge("unattached", err)
	_, err = p.EmptyDirection.MarshalText()
	errs.Merge("empty_direction", err)
	_, err = p.Established.MarshalText()
	errs.Merge("established", err)
	validateRules(&errs, "new_group", p.NewGroup)
	validateRules(&errs, "default_group", p.DefaultGroup)
	validatePlatform(&errs, "platform", p.Platform)
	validatePlatform(&errs, "beyond_any", p.BeyondAny)
	if p.Unit > PerInstance {
		errs.Add("unit", uint8(p.Unit), ErrInvalid, "")
	}
	if p.OnReferenced > Cascade {
		errs.Add("on_referenced", uint8(p.OnReferenced), ErrInvalid, "")
	}
	return errs.Err()
}

func validatePlatform(errs *Errors, field string, rules []PlatformRule) {
	for i, r := range rules {
		path := fmt.Sprintf("%s[%d]", field, i)
		errs.Merge(path+".rule", r.Rule.Validate())
		errs.addName(path+".name", r.Name)
		_, err := r.Action.MarshalText()
		errs.Merge(path+".action", err)
		if k := r.Rule.Peer.Kind(); k == PeerIsGroup || k == PeerIsSet {
			errs.Add(path+".rule.peer", r.Rule.Peer, ErrUnsupported, "a platform rule names a CIDR, or any")
		}
	}
}

// MayBeUngrouped reports whether an interface of that kind needs no group.
func (p *Profile) MayBeUngrouped(kind string) bool {
	return !p.RequireGroup || slices.Contains(p.UngroupedKinds, kind)
}

// HasPlatform reports whether p has a platform rule of that name.
func (p *Profile) HasPlatform(name string) bool {
	return slices.ContainsFunc(p.Platform, func(r PlatformRule) bool { return r.Name == name })
}
