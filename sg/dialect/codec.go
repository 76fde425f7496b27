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
)

// Codec reads and writes groups in the wire format of a cloud.
type Codec struct {
	Name    string // of the format
	Profile string // of the cloud

	// Decode reads groups. Its error is sg.Errors with every fault and its path
	// in the document; warnings list what was understood but can not be held.
	Decode func(b []byte) ([]*sg.Group, []sg.Warning, error)

	// Encode writes groups. It fails with sg.ErrUnsupported for what the format
	// can not say; warnings list what is lost without changing a verdict.
	Encode func(groups []*sg.Group) ([]byte, []sg.Warning, error)
}

// Codecs returns every wire format, in order of name.
func Codecs() []Codec {
	return []Codec{
		{"aws", "aws", aws.Decode, aws.Encode},
		{"aws-rules", "aws", aws.DecodeRules, aws.EncodeRules},
		{"hypervisor", "hypervisor", hypervisor.Decode, hypervisor.Encode},
		{"kakao", "kakao", kakao.Decode, kakao.Encode},
		{"nfyio", "nfyio", nfyio.Decode, nfyio.Encode},
		{"openstack", "openstack", openstack.Decode, openstack.Encode},
		{"stackit", "stackit", stackit.Decode, stackit.Encode},
	}
}

// FindCodec returns the wire format of that name, in any letter case.
func FindCodec(name string) (Codec, bool) {
	for _, c := range Codecs() {
		if len(c.Name) == len(name) && strings.EqualFold(c.Name, name) {
			return c, true
		}
	}
	return Codec{}, false
}
