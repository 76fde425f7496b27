// Package hypervisor is the profile of a hypervisor control panel: security
// groups attached to instances, enforced outside the guest, with IP sets and
// global and user scopes.
package hypervisor

import (
	"time"

	"example.com/secgroup/sg"
)

// MaxGroups is how many groups an instance may have.
const MaxGroups = 10

// SMTP is the name of the platform rule that drops outbound TCP port 25. An
// owner with SMTP enabled is exempt from it.
const SMTP = "smtp"

// Profile returns the panel's semantics. An instance without groups is open
// both ways; a direction is filtered once any attached group has a rule in it;
// outbound TCP port 25 is dropped whatever the groups say, unless the owner is
// exempt; a new group is empty. Names are unique per user. Rules name their IP version. Groups attach to
// instances and apply to all their interfaces. Changes take effect within a
// minute.
func Profile() sg.Profile {
	return sg.Profile{
		Name:           "hypervisor",
		Unattached:     sg.Accept,
		EmptyDirection: sg.Accept,
		RequireFamily:  true,
		Unit:           sg.PerInstance,
		NamesPerScope:  true,
		Platform: []sg.PlatformRule{{Name: SMTP, Action: sg.Drop, Rule: sg.Rule{
			ID: "smtp-guard", Direction: sg.Egress, Protocol: sg.TCP, Ports: sg.Port(25), Peer: sg.PeerAny(),
			Origin: "hypervisor: SMTP is not enabled",
		}}},
		Quota:       sg.Quota{GroupsPerInterface: MaxGroups},
		Propagation: time.Minute,
	}
}
