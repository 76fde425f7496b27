// Package enforce applies compiled policies to traffic.
//
// An Engine decides packets in userspace: decode, source guard, hygiene and
// checksums, fragments, connection tracking, policy, and an entry for what is
// accepted. A Backend is
// anything that can make a policy effective: the Engine is one, package
// nftables below has one for the kernel, and package enforcetest tells whether
// another enforces. A Reconciler keeps backends in step with a policy.Store.
package enforce

import (
	"context"

	"example.com/secgroup/compile"
)

// Backend makes a policy effective.
type Backend interface {
	// Apply makes m the policy in force, all or nothing. It is idempotent, and
	// after an error the previous policy stays in force.
	Apply(ctx context.Context, m *compile.Matcher) error

	// Close releases resources. It leaves the last policy in force.
	Close() error
}
