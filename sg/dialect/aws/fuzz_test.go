package aws_test

import (
	"bytes"
	"testing"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/internal/wire/wiretest"
)

// API-04: whatever the bytes are, Decode returns bounded faults or valid
// groups that are written the same every time.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(described))
	f.Add([]byte(describedRules))
	f.Add([]byte(`{"SecurityGroups": [{"GroupId": "a", "GroupName": "default", "IpPermissions": [], "IpPermissionsEgress": [{"IpProtocol": "132", "FromPort": 1, "ToPort": 2, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]}], "NextToken": "x"}`))
	f.Add([]byte(`{"SecurityGroupRules": [{"GroupId": "a", "IsEgress": true, "IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "PrefixListId": "pl"}]}`))
	f.Add([]byte(`{"SecurityGroups": [null, {"GroupId": 1, "GroupId": "", "x y": [{}]}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		groups, _, err := aws.Decode(b)
		if err != nil {
			wiretest.CheckErrors(t, err)
			return
		}
		for _, g := range groups {
			if err := g.Validate(); err != nil {
				t.Fatalf("%v", err)
			}
		}
		stable(t, groups, aws.Encode, aws.Decode)
		if len(groups) > 0 && len(groups[0].Rules) > 0 {
			stable(t, groups[:1], aws.EncodeRules, aws.DecodeRules)
		}
	})
}

func stable(t *testing.T, groups []*sg.Group, encode func([]*sg.Group) ([]byte, []sg.Warning, error), decode func([]byte) ([]*sg.Group, []sg.Warning, error)) {
	t.Helper()
	first, _, err := encode(groups)
	if err != nil {
		t.Fatalf("what was read can not be written: %v", err)
	}
	back, _, err := decode(first)
	if err != nil {
		t.Fatalf("what was written can not be read: %v\n%s", err, first)
	}
	second, _, err := encode(back)
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("%v\n%s\n%s", err, first, second)
	}
}
