package enforce_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// restartedEngine returns an engine that lets anybody in at port 443 of web-1.
func restartedEngine(o enforce.Options) *enforce.Engine {
	snapshot, _ := policy.Build(strict.Profile(), webPolicy(443), webInterface())
	matcher, _ := compile.Compile(snapshot)
	engine := enforce.NewEngine(o)
	_ = engine.Apply(context.Background(), matcher)
	return engine
}

// turn makes the reply to a segment: the other way round, with other flags and
// numbers.
func turn(p []byte, flags byte, seq, ack uint32) []byte {
	r := append([]byte(nil), p...)
	copy(r[12:16], p[16:20])
	copy(r[16:20], p[12:16])
	copy(r[20:22], p[22:24])
	copy(r[22:24], p[20:22])
	for i := range 4 {
		r[24+i], r[28+i] = byte(seq>>(24-8*i)), byte(ack>>(24-8*i))
	}
	r[33] = flags
	return r
}

// A process is replaced while a connection lives: the next one goes on with it.
func Example_restart() {
	dir, err := os.MkdirTemp("", "restart")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "connections")

	const syn, ack = 0x02, 0x10
	open := segment(443)
	answer := turn(open, syn|ack, 500, 2)
	next := turn(answer, ack, 2, 501)

	// The old process. Written under another name first, the file is never
	// there by half.
	old := restartedEngine(enforce.Options{})
	fmt.Println(old.Port("web-1").Filter(sg.Ingress, open).Reason)
	fmt.Println(old.Port("web-1").Filter(sg.Egress, answer).Reason)
	file, err := os.OpenFile(name+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := old.Snapshot(file)
	fmt.Println(n, "saved", err)
	if err := file.Close(); err != nil {
		fmt.Println(err)
		return
	}
	if err := os.Rename(name+".new", name); err != nil {
		fmt.Println(err)
		return
	}

	// The new one, a second later. Without the file the segment is refused.
	fmt.Println(restartedEngine(enforce.Options{}).Port("web-1").Filter(sg.Ingress, next).Reason)
	engine := restartedEngine(enforce.Options{})
	file, err = os.Open(name)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	got, err := engine.Restore(file, time.Second)
	fmt.Println(got.Connections, "restored", err)
	fmt.Println(engine.Port("web-1").Filter(sg.Ingress, next).Reason)
	// Output:
	// rule
	// established
	// 1 saved <nil>
	// invalid_state
	// 1 restored <nil>
	// established
}

// Where there is no snapshot, segments from the middle of connections may open
// them for a while, if the rules allow them.
func ExampleEngine_Adopt() {
	engine := restartedEngine(enforce.Options{OnEvent: func(e *enforce.Event) { fmt.Println(e.Kind, e.Verdict.Reason, "adopted:", e.Adopted) }})
	middle := turn(turn(segment(443), 0, 0, 0), 0x10, 2, 501)
	port := engine.Port("web-1")
	port.Filter(sg.Ingress, middle)
	engine.Adopt(2*time.Minute, 100_000)
	port.Filter(sg.Ingress, middle)
	fmt.Println(engine.Table().Stats().Adopted)
	// Output:
	// denied invalid_state adopted: false
	// opened rule adopted: true
	// 1
}

// A scan becomes a few lines, which say how many there would have been.
func ExampleEventLimiter() {
	limiter := enforce.NewEventLimiter(enforce.EventLimits{PerSecond: 1, Burst: 2}, func(e *enforce.Event) {
		fmt.Println(e.Time.Format(time.TimeOnly), e.Kind, e.Verdict.Reason, "and", e.Suppressed, "before")
	})
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	engine := restartedEngine(enforce.Options{OnEvent: limiter.OnEvent, Now: func() time.Time { return now }})
	for range 1000 {
		engine.Port("web-1").Filter(sg.Ingress, segment(22))
	}
	now = now.Add(time.Second)
	engine.Port("web-1").Filter(sg.Ingress, segment(22))
	engine.Port("web-1").Filter(sg.Ingress, segment(443))
	// Output:
	// 12:00:00 denied no_rule and 0 before
	// 12:00:00 denied no_rule and 0 before
	// 12:00:01 denied no_rule and 998 before
	// 12:00:01 opened rule and 0 before
}

// An interface has limits of its own, and the caller hears when it comes near.
func ExamplePort_SetLimits() {
	var engine *enforce.Engine
	engine = restartedEngine(enforce.Options{Conntrack: conntrack.Options{
		OnPressure: func(p conntrack.Pressure) {
			id, _ := engine.Interface(p.Zone) // of BoundZone
			fmt.Println(p.Bound, id, p.Entries, "of", p.Limit, "high:", p.High)
		},
	}})
	port := engine.Port("web-1")
	port.SetLimits(conntrack.ZoneOptions{MaxEntries: 10})
	for i := range 100 {
		p := segment(443)
		p[15] = byte(i) // another client
		port.Filter(sg.Ingress, p)
	}
	fmt.Println(engine.Table().Len(), "connections")
	// Output:
	// zone web-1 9 of 10 high: true
	// 10 connections
}

// What cannot be read is refused as a whole, and the engine starts empty.
func ExampleEngine_Restore_damaged() {
	var saved bytes.Buffer
	_, _ = restartedEngine(enforce.Options{}).Snapshot(&saved)
	file := saved.Bytes()
	file[len(file)-1] ^= 1

	engine := restartedEngine(enforce.Options{})
	_, err := engine.Restore(bytes.NewReader(file), 0)
	fmt.Println(err)
	// Output:
	// conntrack: snapshot damaged: byte 24: wrong checksum
}
