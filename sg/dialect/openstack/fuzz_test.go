package openstack_test

import (
	"bytes"
	"testing"

	"example.com/secgroup/sg/dialect/internal/wire/wiretest"
	"example.com/secgroup/sg/dialect/openstack"
)

// API-04: whatever the bytes are, Decode returns bounded faults or valid
// groups that are written the same every time.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(shown))
	f.Add([]byte(`{"security_groups": [{"id": "a", "name": "default"}, {"id": "b", "name": "b", "stateful": false, "created_at": "0001-01-01T00:00:00+01:00", "security_group_rules": []}]}`))
	f.Add([]byte(`{"security_group": {"id": "a", "name": "a", "security_group_rules": [{"direction": "ingress", "ethertype": "IPv6", "protocol": "1", "port_range_min": 128, "remote_ip_prefix": "fe80::1/10"}]}}`))
	f.Add([]byte(`{"security_groups": [null, {"id": 1, "id": "", "x y": [{}]}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		groups, _, err := openstack.Decode(b)
		if err != nil {
			wiretest.CheckErrors(t, err)
			return
		}
		for _, g := range groups {
			if err := g.Validate(); err != nil {
				t.Fatalf("%v", err)
			}
		}
		first, _, err := openstack.Encode(groups)
		if err != nil {
			t.Fatalf("what was read can not be written: %v", err)
		}
		back, _, err := openstack.Decode(first)
		if err != nil {
			t.Fatalf("what was written can not be read: %v\n%s", err, first)
		}
		second, _, err := openstack.Encode(back)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%v\n%s\n%s", err, first, second)
		}
	})
}
