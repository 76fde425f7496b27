package enforce_test

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// client returns the nth of many client addresses.
func client(n int) string {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(n >> 16), byte(n >> 8)}), uint16(1024+n%256)).String()
}

// TestNoisyNeighbour is the gate of that name: one interface is flooded with
// SYNs from ever new clients, beyond its limit and beyond the whole table; it
// never has more connections than its limit, and every new connection of the
// others is admitted, and goes on.
func TestNoisyNeighbour(t *testing.T) {
	const entries, most, others = 1000, 100, 8
	b := newBench(t, enforce.Options{Conntrack: conntrack.Options{MaxEntries: entries, Shards: 4}}, profile(sg.Revalidate),
		group("web", https("a")), nic("i", "web"))
	flooded := b.Port("i")
	flooded.SetLimits(conntrack.ZoneOptions{MaxEntries: most})
	var zone conntrack.Zone
	count := func() (of int) {
		for _, e := range b.entries() {
			if e.Zone == zone {
				of++
			}
		}
		return of
	}
	b.in(tcp(client(0), "10.0.0.5:443", "S"))
	zone = b.entries()[0].Zone
	var ids []sg.InterfaceID
	var more []policy.Change
	for i := range others {
		ids = append(ids, sg.InterfaceID(rune('k'+i)))
		more = append(more, nic(ids[i], "web"))
	}
	b.change(more...)
	opened := 0
	for n := 1; n <= 20*entries; n++ {
		flooded.Filter(sg.Ingress, tcp(client(n), "10.0.0.5:443", "S"))
		if n%200 != 0 {
			continue
		}
		require.LessOrEqual(t, count(), most)
		for _, id := range ids {
			p, c := b.Port(id), client(n)
			require.Equal(t, sg.Accept, p.Filter(sg.Ingress, tcp(c, "10.0.0.5:443", "S")).Action, "%s %d", id, n)
			require.Equal(t, sg.Accept, p.Filter(sg.Egress, tcp("10.0.0.5:443", c, "SA")).Action)
			require.Equal(t, sg.Accept, p.Filter(sg.Ingress, tcp(c, "10.0.0.5:443", "A")).Action)
			opened++
		}
	}
	require.Equal(t, others*100, opened)
	require.Equal(t, most+opened, b.Table().Len(), "none of them went for the flood")
	require.Equal(t, most, count())
}

// The limits are the interface's: they survive policies, compilers, and that it
// is deleted and made again.
func TestLimitsSurvive(t *testing.T) {
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", https("a")))
	p := b.Port("i")
	flood := func() int {
		for n := range 100 {
			p.Filter(sg.Ingress, tcp(client(n), "10.0.0.5:443", "S"))
		}
		return b.Table().Len()
	}
	limit := conntrack.ZoneOptions{MaxEntries: 7}
	p.SetLimits(limit) // not known yet
	require.Equal(t, limit, p.Limits())
	require.Zero(t, flood())
	b.change(nic("i", "web"))
	require.Equal(t, 7, flood())
	b.change(group("web", https("b")))
	require.Equal(t, 7, flood())
	b.change(policy.DeleteInterface{ID: "i"})
	require.Zero(t, b.Table().Len())
	b.change(nic("i", "web"))
	require.Equal(t, 7, flood())
	b.change(policy.DeleteInterface{ID: "i"}, nic("i", "web")) // another of the same id
	require.Equal(t, 7, flood())
	b.apply(matcher(t, profile(sg.Revalidate), group("web", https("c")), nic("i", "web"))) // of another compiler
	require.Equal(t, 7, flood())
	b.apply(matcher(t, profile(sg.Revalidate),
		policy.PutGroup{Group: &sg.Group{ID: "web", Name: "web", VPC: "v2", Rules: https("a")}}, inVPC("i", "v2", "web")))
	require.Equal(t, 7, flood())
	p.SetLimits(conntrack.ZoneOptions{MaxEntries: 9})
	require.Equal(t, 9, flood())
	p.SetLimits(conntrack.ZoneOptions{})
	require.Equal(t, 100, flood())
}

// Liberal holds on one interface only, and from now on.
func TestLiberalInterface(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", https("a")), nic("i", "web"), nic("j", "web"))
		c, s := at(f.peer, "4000"), at(f.local, "443")
		for _, id := range []sg.InterfaceID{"i", "j"} {
			p := b.Port(id)
			p.Filter(sg.Ingress, tcp(c, s, "S"))
			p.Filter(sg.Egress, tcp(s, c, "SA"))
			p.Filter(sg.Ingress, tcp(c, s, "A"))
		}
		far := tcp(c, s, "A")
		seq := len(far) - 20 + 4
		far[seq] = 0x40 // a sequence number that no window of these reaches
		try := func(id sg.InterfaceID) sg.Action { return b.Port(id).Filter(sg.Ingress, far).Action }
		require.Equal(t, []sg.Action{sg.Drop, sg.Drop}, []sg.Action{try("i"), try("j")})
		b.Port("i").SetLimits(conntrack.ZoneOptions{Liberal: true})
		require.Equal(t, []sg.Action{sg.Accept, sg.Drop}, []sg.Action{try("i"), try("j")})
		b.change(group("web", https("b")))
		require.Equal(t, []sg.Action{sg.Accept, sg.Drop}, []sg.Action{try("i"), try("j")})
		b.Port("i").SetLimits(conntrack.ZoneOptions{})
		require.Equal(t, []sg.Action{sg.Drop, sg.Drop}, []sg.Action{try("i"), try("j")})
	})
}

// The bounds of the table are heard through the Engine, with the interface.
func TestPressureNamesTheInterface(t *testing.T) {
	var e *enforce.Engine
	var heard []string
	e = enforce.NewEngine(enforce.Options{Conntrack: conntrack.Options{MaxEntries: 1000, Shards: 1, OnPressure: func(p conntrack.Pressure) {
		id, _ := e.Interface(p.Zone)
		heard = append(heard, p.Bound.String()+" "+string(id)+map[bool]string{true: " high", false: " low"}[p.High])
	}}})
	require.NoError(t, e.Apply(t.Context(), matcher(t, profile(sg.Revalidate), group("web", https("a")), nic("h", "web"), nic("i", "web"))))
	e.Port("h")
	p := e.Port("i")
	p.SetLimits(conntrack.ZoneOptions{MaxEntries: 10})
	for n := range 30 {
		p.Filter(sg.Ingress, tcp(client(n), "10.0.0.5:443", "S"))
	}
	require.Equal(t, []string{"zone i high"}, heard)
	m := matcher(t, profile(sg.Revalidate), group("web"), nic("h", "web"), nic("i", "web"))
	require.NoError(t, e.Apply(t.Context(), m))
	for n := range 30 {
		p.Filter(sg.Ingress, tcp(client(n), "10.0.0.5:443", "S"))
	}
	require.Equal(t, []string{"zone i high", "zone i low"}, heard)
}

// Limits are set while packets pass, policies change and connections end.
func TestLimitsUnderTraffic(t *testing.T) {
	e := enforce.NewEngine(enforce.Options{
		Conntrack: conntrack.Options{MaxEntries: 500, Shards: 2, OnPressure: func(conntrack.Pressure) {}},
		OnEvent:   func(*enforce.Event) {},
	})
	one := matcher(t, profile(sg.Cut), group("web", https("a")), nic("i", "web"))
	two := matcher(t, profile(sg.Cut), group("web"))
	require.NoError(t, e.Apply(t.Context(), one))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for n := w; ; n += 2 {
				select {
				case <-stop:
					return
				default:
					e.Port("i").Filter(sg.Ingress, tcp(client(n), "10.0.0.5:443", "S"))
				}
			}
		})
	}
	for i := range 200 {
		e.Port("i").SetLimits(conntrack.ZoneOptions{MaxEntries: 10 + i%50, Liberal: i%2 == 0})
		if i%10 == 0 {
			require.NoError(t, e.Apply(t.Context(), two))
			require.NoError(t, e.Apply(t.Context(), one))
		}
	}
	close(stop)
	wg.Wait()
	e.Port("i").SetLimits(conntrack.ZoneOptions{MaxEntries: 20})
	require.NoError(t, e.Apply(t.Context(), two))
	require.NoError(t, e.Apply(t.Context(), one))
	before := e.Table().Len() // what a packet on its way left in a zone given up, at most
	for n := range 100 {
		e.Port("i").Filter(sg.Ingress, tcp(client(n), "10.0.0.5:443", "S"))
	}
	require.Equal(t, before+20, e.Table().Len())
}
