package nftables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// Backend keeps the table of one network namespace in step with a policy: that
// of the thread that calls it. It is safe for concurrent use; calls wait for
// each other.
type Backend struct {
	o       Options
	program string // nft
	seed    maphash.Seed
	mu      sync.Mutex

	kernel *kernel // nil until the first use, and after a failure
	now    *state  // what Apply left in force, nil before the first
	sure   bool    // that it is so still, as far as this Backend knows
	tag    uint64  // of the last generation that got names
	fresh  int     // how many epochs may follow before marks are looked at
	due    due
	base   map[ir.RuleRef]count // of counters that are no more
}

// state is what the kernel has.
type state struct {
	matcher *compile.Matcher
	layout  *layout
	names   names
	print   fingerprint
	gen     uint32 // the kernel's generation when it had it
}

var _ enforce.Backend = (*Backend)(nil)

// New returns a backend. It touches nothing until Apply.
func New(o Options) (*Backend, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Backend{o: o, program: "nft", seed: maphash.MakeSeed(), base: map[ir.RuleRef]count{}}, nil
}

// Apply makes m the policy in force. What is new is laid beside what there is,
// without effect; then one transaction leads packets there, so that each is
// judged by the old policy or by the new one, and what is old goes when no
// packet is in it any more. Where only members of groups and IP sets differ it
// changes those elements and nothing else, in time proportional to them. Any
// other change is planned in time proportional to the policies that it touches
// and to the interfaces that have them; nft and the kernel then look at the whole
// table.
//
// The first Apply takes over a table that an earlier process left: it replaces
// what is in it, and connections that stay allowed go on. A table that somebody
// else changed since the last Apply is replaced too. Devices are looked up for
// interfaces that the change touches; Apply with the same matcher looks all of
// them up again.
//
// The error is sg.Errors for what can not be expressed, else an *Error. The
// previous policy stays in force, unless the error says ErrCleanup.
func (b *Backend) Apply(ctx context.Context, m *compile.Matcher) error {
	if m == nil || m.Program() == nil {
		return &sg.FieldError{Path: "matcher", Err: sg.ErrRequired}
	}
	return b.do("apply", func() error { return b.apply(ctx, m) })
}

// do runs f with a connection to the kernel, of which a failure makes an end.
func (b *Backend) do(op string, f func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.locked(op, f)
}

func (b *Backend) locked(op string, f func() error) error {
	if b.kernel == nil {
		k, err := dial(b.o.Table, b.seed)
		if err != nil {
			return classify(op, err)
		}
		b.kernel = k
	}
	if err := f(); err != nil {
		var faults sg.Errors
		if errors.As(err, &faults) {
			return faults // found before anything was done
		}
		b.disconnect()
		return classify(op, err)
	}
	return nil
}

// Prepare makes the table, without any policy, unless there is one already: the
// devices of Options.Protect pass nothing from now on. Call it before
// interfaces gain access to the network; Apply does not need it.
//
// A policy that an earlier process left stays in force, and what it does not
// know is protected as Options say. One that is damaged goes.
func (b *Backend) Prepare(ctx context.Context) error {
	return b.do("prepare", func() error {
		in, err := b.inspect("prepare")
		if err != nil {
			return err
		}
		if in.exists {
			whole, err := b.protect(ctx, in)
			if whole || err != nil {
				return err
			}
		}
		var script bytes.Buffer
		if err := Render(&script, ir.New(ir.NewData()), b.o); err != nil {
			return err
		}
		b.sure = false
		return b.run(ctx, "prepare", script.Bytes())
	})
}

// protect brings the base chains of a table up to date, if it is whole.
func (b *Backend) protect(ctx context.Context, in *installed) (whole bool, err error) {
	if in.dormant || !sameBases(in, &b.o) {
		return false, nil
	}
	if empty, err := b.kernel.emptyChain(in); empty || err != nil {
		return false, err
	}
	// The base chains lead to one generation, whose name their maps bear.
	used, err := b.kernel.lookups("egress")
	if err != nil || len(used) == 0 {
		return false, err
	}
	n := newNames()
	n.all(&ruleset{sets: dispatchSets(), chains: sharedChains(&b.o)}, used[0][len(untagged(used[0])):])
	var script bytes.Buffer
	w := newWriter(&script)
	turnBases(w, n, b.o.Table, baseChains(&b.o))
	if err := w.flush(); err != nil {
		return true, err
	}
	b.sure = false // the chains are others now
	return true, b.run(ctx, "prepare", script.Bytes())
}

// inspect reads the table, and refuses one that is not this package's.
func (b *Backend) inspect(op string) (*installed, error) {
	in, err := b.kernel.inspect()
	if err != nil {
		return nil, err
	}
	if in.exists && !in.ours {
		return nil, &Error{Op: op, Err: ErrForeign, Detail: fmt.Sprintf(
			"table inet %s has no comment %q: delete it, or choose another Options.Table", b.o.Table, marker)}
	}
	return in, nil
}

// Check reports whether Apply of m would succeed: what can not be expressed,
// and what nft and the kernel say to the whole ruleset, as nft -c does. It
// changes nothing.
func (b *Backend) Check(ctx context.Context, m *compile.Matcher) error {
	if m == nil || m.Program() == nil {
		return &sg.FieldError{Path: "matcher", Err: sg.ErrRequired}
	}
	return b.do("check", func() error {
		var script bytes.Buffer
		if err := Render(&script, m.Program(), b.o); err != nil {
			return err
		}
		if _, err := b.inspect("check"); err != nil {
			return err
		}
		return b.run(ctx, "check", script.Bytes(), "-c")
	})
}

// Close releases the connection to the kernel. The policy stays in force, and
// nobody repairs it any more. The Backend can be used again.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.disconnect()
	return nil
}

// Remove deletes the table: what it filtered passes. It leaves nothing behind
// but marks and zones of connections, which end by themselves. A table that is
// not this package's stays, with an error that wraps ErrForeign; none is no
// error. It needs no nft.
func (b *Backend) Remove(ctx context.Context) error {
	return b.do("remove", func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		in, err := b.inspect("remove")
		if err != nil {
			return err
		}
		b.now, b.sure = nil, false
		b.due = due{}
		if !in.exists {
			return nil
		}
		return b.kernel.remove()
	})
}

func (b *Backend) disconnect() {
	if b.kernel != nil {
		_ = b.kernel.close()
		b.kernel = nil
	}
}
