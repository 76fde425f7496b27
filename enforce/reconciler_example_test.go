package enforce_test

import (
	"context"
	"fmt"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// A store feeds an engine: who commits a change can wait until it is in force.
func ExampleReconciler() {
	store, _ := policy.NewStore(strict.Profile())
	engine := enforce.NewEngine(enforce.Options{})
	reconciler, err := enforce.NewReconciler(store, enforce.ReconcilerOptions{}, enforce.Target{Name: "userspace", Backend: engine})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go reconciler.Run(ctx)

	port := engine.Port("web-1")
	for _, open := range []uint16{443, 8443} {
		revision, _ := store.Update(sg.Actor{Admin: true}, func(tx *policy.Tx) error {
			return tx.Apply(webPolicy(open), webInterface())
		})
		if err := reconciler.Wait(ctx, revision); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(revision, port.Filter(sg.Ingress, segment(443)).Action, port.Filter(sg.Ingress, segment(8443)).Action)
	}
	for _, b := range reconciler.Status().Backends {
		fmt.Println(b)
	}
	// Output:
	// 1 accept drop
	// 2 drop accept
	// userspace: revision 2
}
