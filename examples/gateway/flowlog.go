package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"example.com/secgroup/enforce"
)

// flowLog prints events. They are made on the packet path, which must not wait
// for a terminal: a full queue drops them, and says how many.
type flowLog struct {
	w       io.Writer
	lines   chan enforce.Event
	lost    atomic.Uint64
	printed func(*enforce.Event) // called after every line, if not nil
}

func newFlowLog(w io.Writer) *flowLog { return &flowLog{w: w, lines: make(chan enforce.Event, 1024)} }

// event is for enforce.Options.OnEvent.
func (l *flowLog) event(e *enforce.Event) {
	select {
	case l.lines <- *e:
	default:
		l.lost.Add(1)
	}
}

// run prints until ctx is done.
func (l *flowLog) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-l.lines:
			l.print(&e)
			if l.printed != nil {
				l.printed(&e)
			}
			if n := l.lost.Swap(0); n > 0 {
				fmt.Fprintf(l.w, "  … %d events were not printed\n", n)
			}
		}
	}
}

func (l *flowLog) print(e *enforce.Event) {
	why := e.Verdict.Reason.String()
	if rule := e.Rule.String(); rule != "" {
		why += " " + rule
	}
	fmt.Fprintf(l.w, "  %-6s  %-7s %-8s %-44s %s\n", e.Kind, e.Direction, e.Interface, e.Tuple, why)
}

// lockedWriter lets several goroutines print whole lines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
