// Package strict is the profile that adds nothing: what no rule allows is
// refused, in every situation. It belongs to no cloud.
package strict

import "example.com/secgroup/sg"

// Profile returns the strict profile: no default rules, no platform rules, no
// limits; an interface without groups, and a direction without rules, pass
// nothing; connections are judged again after a change; groups may be
// stateless.
func Profile() sg.Profile {
	return sg.Profile{Name: "strict", AllowStateless: true}
}
