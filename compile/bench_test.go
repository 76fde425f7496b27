package compile_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// address returns the n-th address of 10/8.
func address(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)
}

// member returns the n-th interface of group "members".
func member(n int) *sg.Interface {
	return &sg.Interface{ID: sg.InterfaceID(fmt.Sprintf("if-%07d", n)), Addrs: []netip.Prefix{address(n)}, Groups: []sg.GroupID{"members"}}
}

// serving returns a policy whose one server admits peer.
func serving(b *testing.B, peer sg.Peer, changes ...policy.Change) *policy.Snapshot {
	s, err := policy.Build(strict.Profile(), append(changes,
		policy.PutGroup{Group: &sg.Group{ID: "server", Name: "server", Rules: []sg.Rule{
			{ID: "https", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: peer},
		}}},
		policy.PutInterface{Interface: &sg.Interface{ID: "server", Groups: []sg.GroupID{"server"}}})...)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkSince measures Apply of one member more, or one less, and Since of
// the program before: an op is both. The metrics are the two apart, and Since
// of the eighth program before.
func BenchmarkSince(b *testing.B) {
	for _, n := range []int{1_000, 60_000} {
		b.Run(fmt.Sprintf("group=%d", n), func(b *testing.B) {
			changes := []policy.Change{policy.PutGroup{Group: &sg.Group{ID: "members", Name: "members"}}}
			for i := range n {
				changes = append(changes, policy.PutInterface{Interface: member(i)})
			}
			extra := member(n)
			toAndFro(b, serving(b, sg.PeerGroup("members"), changes...),
				policy.PutInterface{Interface: extra}, policy.DeleteInterface{ID: extra.ID})
		})
	}
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprintf("set=%d", n), func(b *testing.B) {
			set := ipset.New("set", sg.IPv4, sg.Global())
			for i := range n {
				if err := set.Add(ipset.Entry{Prefix: address(i)}); err != nil {
					b.Fatal(err)
				}
			}
			toAndFro(b, serving(b, sg.PeerSet("set"), policy.PutSet{Set: set}),
				policy.EditSet{ID: "set", Add: []ipset.Entry{{Prefix: address(n)}}},
				policy.EditSet{ID: "set", Remove: []netip.Prefix{address(n)}})
		})
	}
}

// toAndFro applies a change and takes it back, by turns.
func toAndFro(b *testing.B, s *policy.Snapshot, to, fro policy.Change) {
	var c compile.Compiler
	m, err := c.Reset(s)
	if err != nil {
		b.Fatal(err)
	}
	batches := [2]policy.Batch{{Changes: []policy.Change{to}}, {Changes: []policy.Change{fro}}}
	var last [8]*ir.Program
	for i := range last {
		last[i] = m.Program()
		if m, err = c.Apply(batches[i%2]); err != nil {
			b.Fatal(err)
		}
	}
	var apply, one, eight time.Duration
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		prev := m.Program()
		start := time.Now()
		if m, err = c.Apply(batches[n%2]); err != nil {
			b.Fatal(err)
		}
		applied := time.Now()
		d, ok := m.Program().Since(prev)
		near := time.Now()
		far, _ := m.Program().Since(last[n%len(last)])
		eight += time.Since(near)
		apply, one = apply+applied.Sub(start), one+near.Sub(applied)
		if !ok || len(d.Members) != 1 || len(d.Members[0].Add)+len(d.Members[0].Remove) != 1 || len(far.Members) > 1 {
			b.Fatal(d, far)
		}
		last[n%len(last)] = prev
		n++
	}
	b.ReportMetric(float64(apply.Nanoseconds())/float64(n), "ns/apply")
	b.ReportMetric(float64(one.Nanoseconds())/float64(n), "ns/since")
	b.ReportMetric(float64(eight.Nanoseconds())/float64(n), "ns/since-8")
}
