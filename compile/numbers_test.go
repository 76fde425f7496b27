package compile

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// spread returns a policy of n VPCs, each with a group that has such rules, of
// which the first names the group itself, and a member of it.
func spread(t testing.TB, n int, rules ...sg.Rule) *policy.Snapshot {
	t.Helper()
	office := ipset.New("office", sg.IPv4, sg.Global())
	require.NoError(t, office.Add(ipset.Entry{Prefix: netip.MustParsePrefix("198.51.100.0/24")}))
	changes := []policy.Change{policy.PutSet{Set: office}}
	for i := range n {
		id, vpc, group := fmt.Sprint("i", i), sg.VPCID(fmt.Sprint("v", i)), sg.GroupID(fmt.Sprint("g", i))
		own := append([]sg.Rule{tcpFrom("self", 1, sg.PeerGroup(group))}, rules...)
		changes = append(changes, policy.PutGroup{Group: &sg.Group{ID: group, Name: string(group), VPC: vpc, Rules: own}})
		changes = append(changes, policy.PutInterface{Interface: &sg.Interface{
			ID: sg.InterfaceID(id), VPC: vpc, Groups: []sg.GroupID{group},
			Addrs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32)},
		}})
	}
	s, err := policy.Build(sg.Profile{Name: "p"}, changes...)
	require.NoError(t, err)
	return s
}

func tcpFrom(id string, port uint16, peer sg.Peer) sg.Rule {
	return sg.Rule{ID: sg.RuleID(id), Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(port), Peer: peer}
}

func ask(t testing.TB, m *Matcher, id sg.InterfaceID, remote string, port uint16) sg.Action {
	t.Helper()
	i, ok := m.Interface(id)
	require.True(t, ok)
	return m.Match(i.Index, sg.Ingress, ir.Flow{Remote: netip.MustParseAddr(remote), Protocol: uint8(sg.TCP), Port: port}).Action
}

// TestEqualNumbers: equal policies and changes, in equal order, give equal numbers.
func TestEqualNumbers(t *testing.T) {
	run := func() (out []string) {
		var c Compiler
		m, err := c.Reset(spread(t, 8))
		require.NoError(t, err)
		list := func() {
			for r := range m.Program().Rules() {
				out = append(out, fmt.Sprint(r))
			}
			for s := range m.Program().Selectors() {
				out = append(out, fmt.Sprint(s.Num, s.VPC, s.Peer))
			}
			for i := range m.Program().Interfaces() {
				out = append(out, fmt.Sprint(i.ID, i.Index, i.Serial, i.VPCNum, i.Policy))
			}
		}
		list()
		var batch policy.Batch
		for i := range 8 {
			id := sg.GroupID(fmt.Sprint("g", i))
			rules := []sg.Rule{tcpFrom("b", 2, sg.PeerGroup(id)), tcpFrom("c", 3, sg.PeerSet("office")), tcpFrom("d", 4, sg.PeerAny())}
			batch.Changes = append(batch.Changes, policy.PutGroup{Group: &sg.Group{ID: id, Name: string(id), VPC: sg.VPCID(fmt.Sprint("v", i)), Rules: rules}})
		}
		batch.Changes = append(batch.Changes, policy.DeleteInterface{ID: "i3"})
		m, err = c.Apply(batch)
		require.NoError(t, err)
		list()
		return out
	}
	first := run()
	for range 10 {
		require.Equal(t, first, run())
	}
}

// TestSetOfManyVPCs: a set that rules of several VPCs name goes on in each of
// them, whatever becomes of the others.
func TestSetOfManyVPCs(t *testing.T) {
	var c Compiler
	m, err := c.Reset(spread(t, 3, tcpFrom("a", 80, sg.PeerSet("office"))))
	require.NoError(t, err)
	have := []string{"i0", "i1", "i2"}
	for n, gone := range []string{"i1", "i0", "i2"} {
		extra := netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}), 32)
		m, err = c.Apply(policy.Batch{Changes: []policy.Change{policy.EditSet{ID: "office", Add: []ipset.Entry{{Prefix: extra}}}}})
		require.NoError(t, err)
		for _, id := range have {
			require.Equal(t, sg.Accept, ask(t, m, sg.InterfaceID(id), extra.Addr().String(), 80), id)
			require.Equal(t, sg.Accept, ask(t, m, sg.InterfaceID(id), "198.51.100.7", 80), id)
			require.Equal(t, sg.Drop, ask(t, m, sg.InterfaceID(id), "203.0.113.9", 80), id)
		}
		m, err = c.Apply(policy.Batch{Changes: []policy.Change{policy.DeleteInterface{ID: sg.InterfaceID(gone)}}})
		require.NoError(t, err)
		have = slices.DeleteFunc(have, func(id string) bool { return id == gone })
	}
	require.Empty(t, c.state.vpcs)
	require.Empty(t, c.state.bySet)
	require.Empty(t, slices.Collect(m.Program().Selectors()))
}

// TestSetPutAndEdited: a set that is put and edited at once, in any order, is what
// both make of it.
func TestSetPutAndEdited(t *testing.T) {
	at := func(n byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, n}), 32) }
	put := func(n ...byte) policy.Change {
		s := ipset.New("office", sg.IPv4, sg.Global())
		for _, n := range n {
			require.NoError(t, s.Add(ipset.Entry{Prefix: at(n)}))
		}
		return policy.PutSet{Set: s}
	}
	edit := func(add, remove byte) policy.Change {
		return policy.EditSet{ID: "office", Add: []ipset.Entry{{Prefix: at(add)}}, Remove: []netip.Prefix{at(remove)}}
	}
	for n, changes := range [][]policy.Change{
		{put(1, 2), edit(3, 1)}, {edit(3, 9), put(1, 2)}, {put(1), put(2), edit(4, 2), edit(5, 4)}, {edit(1, 2), edit(2, 1)}, {edit(7, 8), put(7), edit(8, 7)},
	} {
		var c Compiler
		s := spread(t, 2, tcpFrom("a", 80, sg.PeerSet("office")))
		_, err := c.Reset(s)
		require.NoError(t, err)
		next, _, err := s.With(changes...)
		require.NoError(t, err)
		fresh, err := Compile(next)
		require.NoError(t, err)
		m, err := c.Apply(policy.Batch{Changes: changes})
		require.NoError(t, err)
		for i := range byte(10) {
			require.Equal(t, ask(t, fresh, "i0", at(i).Addr().String(), 80), ask(t, m, "i0", at(i).Addr().String(), 80), "%d: %v", n, at(i))
			require.Equal(t, ask(t, m, "i0", at(i).Addr().String(), 80), ask(t, m, "i1", at(i).Addr().String(), 80), "%d: %v", n, at(i))
		}
	}
}

// TestNumbersUsedUp: a compiler whose numbers come to their end says so and goes
// on with what it has.
func TestNumbersUsedUp(t *testing.T) {
	s := spread(t, 2, tcpFrom("a", 80, sg.PeerSet("office")))
	for name, set := range map[string]func(c *Compiler, over uint32){
		"rules": func(c *Compiler, over uint32) { c.state.lastRule = ir.RuleNum(1<<32-1<<24) + ir.RuleNum(over) },
		"selectors": func(c *Compiler, over uint32) {
			c.state.lastSelector = ir.SelectorNum(classes.Limit-1<<24) + ir.SelectorNum(over)
		},
	} {
		for over := range uint32(2) {
			var c Compiler
			m, err := c.Reset(s)
			require.NoError(t, err)
			set(&c, over)
			next, err := c.Apply(policy.Batch{Changes: []policy.Change{policy.DeleteInterface{ID: "i1"}}})
			if over == 0 {
				require.NoError(t, err, name)
				continue
			}
			var field *sg.FieldError
			require.True(t, errors.As(err, &field), name)
			require.ErrorIs(t, err, sg.ErrQuota)
			require.Nil(t, next)
			require.Same(t, m, c.Matcher())
			require.Equal(t, sg.Accept, ask(t, c.Matcher(), "i1", "198.51.100.7", 80))
		}
	}
}

// TestVPCsUsedUp: as many VPCs as a program can number, and no more, whether an
// interface or a group brings them.
func TestVPCsUsedUp(t *testing.T) {
	for name, put := range map[string]func(id sg.VPCID) policy.Change{
		"interfaces": func(id sg.VPCID) policy.Change {
			return policy.PutInterface{Interface: &sg.Interface{ID: sg.InterfaceID("x" + id), VPC: id}}
		},
		"groups": func(id sg.VPCID) policy.Change {
			return policy.PutGroup{Group: &sg.Group{ID: sg.GroupID("x" + id), Name: string("x" + id), VPC: id}}
		},
	} {
		var c Compiler
		m, err := c.Reset(spread(t, 2))
		require.NoError(t, err)
		for i := range maxVPCs - 4 { // of other interfaces
			c.state.vpcs[sg.VPCID(fmt.Sprint("other", i))] = &vpc{}
		}
		_, err = c.Apply(policy.Batch{Changes: []policy.Change{put("a"), put("b"), put("c")}})
		require.ErrorIs(t, err, sg.ErrQuota, name)
		require.Same(t, m, c.Matcher())
		_, err = c.Apply(policy.Batch{Changes: []policy.Change{put("a"), put("b"), put("v0"), put("other7")}})
		require.NoError(t, err, name)
	}
}
