package enforce_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

func denied(id sg.InterfaceID, r ir.Reason, at time.Duration) *enforce.Event {
	return &enforce.Event{Time: start().Add(at), Kind: enforce.FlowDenied, Interface: id, Verdict: ir.Verdict{Reason: r}}
}

// TestRES09LogFlood: a flood on one interface, through the Engine.
func TestRES09LogFlood(t *testing.T) {
	var got []enforce.Event
	l := enforce.NewEventLimiter(enforce.EventLimits{PerSecond: 10, Burst: 20}, func(e *enforce.Event) { got = append(got, *e) })
	var clock time.Duration
	e := enforce.NewEngine(enforce.Options{OnEvent: l.OnEvent, Now: func() time.Time { return start().Add(clock) }})
	require.NoError(t, e.Apply(t.Context(), matcher(t, profile(sg.Revalidate), web(), nic("i", "web"), nic("j", "web"))))
	flood, quiet := e.Port("i"), e.Port("j")
	scan := tcp("192.0.2.7:1", "10.0.0.5:22", "S")
	const packets = 20_000
	for i := range packets { // 10 s
		clock = time.Duration(i) * 500 * time.Microsecond
		require.Equal(t, ir.ReasonNoRule, flood.Filter(sg.Ingress, scan).Reason)
		if i == packets/2 { // neither of these drowns
			flood.Filter(sg.Ingress, scan[:10])
			quiet.Filter(sg.Ingress, scan)
			quiet.Filter(sg.Ingress, tcp("192.0.2.7:1", "10.0.0.5:443", "S"))
		}
	}
	seen, sum := map[string]int{}, uint64(0)
	for _, ev := range got {
		seen[string(ev.Interface)+" "+ev.Kind.String()+" "+ev.Verdict.Reason.String()]++
		sum += 1 + ev.Suppressed
	}
	require.Equal(t, map[string]int{"i denied no_rule": 20 + 99, "i denied malformed": 1, "j denied no_rule": 1, "j opened rule": 1}, seen)
	require.Equal(t, uint64(packets+3), uint64(len(got))+l.Suppressed())
	require.LessOrEqual(t, sum, uint64(packets+3))
	require.Greater(t, sum, uint64(packets-1000), "each event says what was kept back before it")
	for reason, n := range e.Drops() {
		if reason == ir.ReasonNoRule {
			require.Equal(t, uint64(packets+1), n)
		}
	}
}

// The limits hold for events at any times: against the definition, that of
// events that passed no window of time has more than its length allows.
func TestEventLimiterProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := enforce.EventLimits{
			PerSecond: rapid.SampledFrom([]int{1, 4, 10, 1000}).Draw(rt, "rate"),
			Burst:     rapid.SampledFrom([]int{1, 2, 7}).Draw(rt, "burst"),
			Total:     1e9,
		}
		var passed []time.Duration
		said := uint64(0)
		l := enforce.NewEventLimiter(o, func(e *enforce.Event) { passed = append(passed, e.Time.Sub(start())); said += 1 + e.Suppressed })
		interval := time.Second / time.Duration(o.PerSecond)
		now, sent, tokens, last := time.Duration(0), 0, float64(o.Burst), time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(rt, "events") {
			now += time.Duration(rapid.SampledFrom([]float64{0, 0.1, 0.5, 1, 3}).Draw(rt, "gap") * float64(interval))
			before := len(passed)
			l.OnEvent(denied("i", ir.ReasonNoRule, now))
			sent++
			// The textbook bucket.
			tokens = min(float64(o.Burst), tokens+float64(now-last)/float64(interval))
			last = now
			want := tokens > 1-1e-6
			if want {
				tokens--
			}
			if got := len(passed) > before; got != want {
				rt.Fatalf("event %d at %v: passed %v, want %v", sent, now, got, want)
			}
		}
		if uint64(len(passed))+l.Suppressed() != uint64(sent) || said > uint64(sent) {
			rt.Fatalf("%d passed, %d kept back, %d said; %d sent", len(passed), l.Suppressed(), said, sent)
		}
		for i := range passed {
			for k := i; k < len(passed); k++ {
				if most := o.Burst + int((passed[k]-passed[i])/interval) + 1; k-i+1 > most {
					rt.Fatalf("%d events from %v to %v, at most %d", k-i+1, passed[i], passed[k], most)
				}
			}
		}
	})
}

// All interfaces together have a limit, too.
func TestEventLimiterTotal(t *testing.T) {
	n := 0
	l := enforce.NewEventLimiter(enforce.EventLimits{Total: 50}, func(*enforce.Event) { n++ })
	for i := range 200 {
		l.OnEvent(denied(sg.InterfaceID(rune('a'+i%20)), ir.ReasonNoRule, 0))
	}
	require.Equal(t, 50, n)
	l.OnEvent(denied("new", ir.ReasonNoRule, 10*time.Millisecond))
	require.Equal(t, 50, n)
	l.OnEvent(denied("newer", ir.ReasonNoRule, 20*time.Millisecond))
	require.Equal(t, 51, n)
}

func TestEventLimiterDefaults(t *testing.T) {
	n := 0
	l := enforce.NewEventLimiter(enforce.EventLimits{PerSecond: -1, Burst: -1, Total: -1}, func(*enforce.Event) { n++ })
	for range 100 {
		l.OnEvent(denied("i", ir.ReasonNoRule, 0))
	}
	require.Equal(t, 50, n)
	for i := range 10_000 {
		l.OnEvent(denied(sg.InterfaceID(time.Duration(i).String()), ir.ReasonNoRule, 0))
	}
	require.Equal(t, 1000, n)
	n = 0
	l = enforce.NewEventLimiter(enforce.EventLimits{PerSecond: 1 << 30, Burst: 1 << 30, Total: 1 << 30}, func(*enforce.Event) { n++ })
	for range 1000 {
		l.OnEvent(denied("i", ir.ReasonNoRule, 0))
	}
	require.Equal(t, 1000, n)
	l = enforce.NewEventLimiter(enforce.EventLimits{PerSecond: 1, Burst: 1 << 30}, func(*enforce.Event) { n++ })
	for range 1000 {
		l.OnEvent(denied("i", ir.ReasonNoRule, 0))
	}
	require.Equal(t, 2000, n)
}

// A clock that jumps neither silences an interface for good nor lets a flood
// through.
func TestEventLimiterClock(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{time.Second, -time.Second, -time.Hour, 10 * year, -10 * year, 100 * year, -100 * year} {
		n := 0
		l := enforce.NewEventLimiter(enforce.EventLimits{PerSecond: 1, Burst: 3}, func(*enforce.Event) { n++ })
		for range 100 {
			l.OnEvent(denied("i", ir.ReasonNoRule, 0))
		}
		require.Equal(t, 3, n)
		for i := range 63 {
			l.OnEvent(denied("i", ir.ReasonNoRule, jump+time.Duration(i)*time.Second))
		}
		require.GreaterOrEqual(t, n, 4, jump)
		require.LessOrEqual(t, n, 66, jump)
	}
	// Readings of workers that differ a little give nobody more.
	n := 0
	l := enforce.NewEventLimiter(enforce.EventLimits{PerSecond: 1, Burst: 3}, func(*enforce.Event) { n++ })
	for i := range 1000 {
		l.OnEvent(denied("i", ir.ReasonNoRule, time.Duration(i%2)*50*time.Millisecond))
	}
	require.Equal(t, 3, n)
}

func TestEventLimiterConcurrent(t *testing.T) {
	var passed, said atomic.Uint64
	l := enforce.NewEventLimiter(enforce.EventLimits{PerSecond: 1000, Burst: 100}, func(e *enforce.Event) {
		passed.Add(1)
		said.Add(1 + e.Suppressed)
	})
	var wg sync.WaitGroup
	const workers, each = 8, 5000
	for range workers {
		wg.Go(func() {
			e := denied("i", ir.ReasonNoRule, 0)
			for i := range each {
				*e = *denied("i", ir.ReasonNoRule, time.Duration(i)*time.Microsecond)
				l.OnEvent(e)
			}
		})
	}
	wg.Wait()
	require.Equal(t, uint64(workers*each), passed.Load()+l.Suppressed())
	require.LessOrEqual(t, passed.Load(), uint64(106))
	require.GreaterOrEqual(t, passed.Load(), uint64(100))
	require.LessOrEqual(t, said.Load(), uint64(workers*each))
}

func TestEventLimiterNoAllocations(t *testing.T) {
	l := enforce.NewEventLimiter(enforce.EventLimits{}, func(*enforce.Event) {})
	pass, drop := denied("i", ir.ReasonNoRule, 0), denied("j", ir.ReasonNoRule, 0)
	l.OnEvent(pass)
	l.OnEvent(drop)
	require.Zero(t, testing.AllocsPerRun(500, func() {
		pass.Time = pass.Time.Add(time.Second)
		l.OnEvent(pass)
		l.OnEvent(drop)
	}))
	require.Positive(t, l.Suppressed())
}
