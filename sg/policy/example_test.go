package policy_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// A Store holds one policy. Update commits everything or nothing.
func ExampleStore() {
	store, err := policy.NewStore(sg.Profile{Name: "example", RequireGroup: true})
	if err != nil {
		panic(err)
	}
	https := sg.Rule{
		ID: "https", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443),
		Peer: sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0")),
	}
	rev, err := store.Update(sg.Actor{ID: "ops", Admin: true}, func(tx *policy.Tx) error {
		return tx.Apply(
			policy.PutGroup{Group: &sg.Group{ID: "sg-web", Name: "web", VPC: "vpc-1", Rules: []sg.Rule{https}}},
			policy.PutInterface{Interface: &sg.Interface{ID: "web-1", VPC: "vpc-1", Owner: "ann", Groups: []sg.GroupID{"sg-web"}}},
		)
	})
	fmt.Println("revision", rev, err)

	snapshot, _ := store.Snapshot()
	for i := range snapshot.Attached("sg-web") {
		fmt.Println("attached to", i.ID)
	}
	// Output:
	// revision 1 <nil>
	// attached to web-1
}

// A refused Update changes nothing and says everything that is wrong.
func ExampleStore_Update() {
	store, err := policy.NewStore(sg.Profile{Name: "example", Quota: sg.Quota{GroupsPerInterface: 1}})
	if err != nil {
		panic(err)
	}
	rev, err := store.Update(sg.Actor{ID: "ann"}, func(tx *policy.Tx) error {
		return tx.Apply(
			policy.PutGroup{Group: &sg.Group{ID: "sg-a", Name: "a", VPC: "vpc-1", Rules: []sg.Rule{
				{ID: "db", Direction: sg.Egress, Protocol: sg.TCP, Ports: sg.Port(5432), Peer: sg.PeerGroup("sg-db")},
			}}},
			policy.PutInterface{Interface: &sg.Interface{ID: "web-1", VPC: "vpc-2", Owner: "ann", Groups: []sg.GroupID{"sg-a", "sg-b"}}},
		)
	})
	fmt.Println("revision", rev)
	fmt.Println(err)
	fmt.Println("quota:", errors.Is(err, sg.ErrQuota))
	// Output:
	// revision 0
	// groups["sg-a"]: forbidden: only its owner or an admin may change it
	// groups["sg-a"].rules[0].peer: not found "sg-db": no such group
	// interfaces["web-1"].groups: quota exceeded "2": groups per interface: limit 1, usage 2
	// interfaces["web-1"].groups[0]: invalid "sg-a": the group is in VPC "vpc-1", the interface in "vpc-2"
	// interfaces["web-1"].groups[1]: not found "sg-b": no such group
	// quota: true
}

// A replica starts from a snapshot and applies each batch to its own copy.
func ExampleStore_Watch() {
	store, err := policy.NewStore(sg.Profile{Name: "example"})
	if err != nil {
		panic(err)
	}
	admin := sg.Actor{Admin: true}
	for _, c := range []policy.Change{
		policy.PutGroup{Group: &sg.Group{ID: "sg-web", Name: "web"}},
		policy.PutInterface{Interface: &sg.Interface{ID: "web-1", Groups: []sg.GroupID{"sg-web"}}},
		policy.DeleteGroup{ID: "sg-web"}, // detaches
	} {
		if _, err := store.Update(admin, func(tx *policy.Tx) error { return tx.Apply(c) }); err != nil {
			panic(err)
		}
	}

	replica, err := policy.New(sg.Profile{Name: "example"})
	if err != nil {
		panic(err)
	}
	for batch, err := range store.Watch(context.Background(), 0) {
		if err != nil {
			panic(err) // policy.ErrCompacted: start again from Snapshot
		}
		if replica, _, err = replica.With(batch.Changes...); err != nil {
			panic(err)
		}
		for _, c := range batch.Changes {
			fmt.Printf("%d %T\n", batch.Revision, c)
		}
		if batch.Revision == 3 {
			break // a real replica waits for more
		}
	}
	fmt.Printf("%+v\n", replica.Size())
	// Output:
	// 1 policy.PutGroup
	// 2 policy.PutInterface
	// 3 policy.PutInterface
	// 3 policy.DeleteGroup
	// {Groups:0 Sets:0 Interfaces:1}
}
