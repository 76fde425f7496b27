// Package dialect finds the profile and the wire format of a cloud by name.
// Each cloud has a package of its own below this one.
package dialect

import (
	"strings"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/kakao"
	"example.com/secgroup/sg/dialect/nfyio"
	"example.com/secgroup/sg/dialect/openstack"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/dialect/strict"
)

// Profiles returns every profile, in order of name.
func Profiles() []sg.Profile {
	return []sg.Profile{
		aws.Profile(), hypervisor.Profile(), kakao.Profile(), nfyio.Profile(), openstack.Profile(), stackit.Profile(), strict.Profile(),
	}
}

// Profile returns the profile of that name, in any letter case.
func Profile(name string) (sg.Profile, bool) {
	for _, p := range Profiles() {
		if len(p.Name) == len(name) && strings.EqualFold(p.Name, name) { // the length tells U+017F from an s
			return p, true
		}
	}
	return sg.Profile{}, false
}
