package tun_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/tun"
	"example.com/secgroup/sg"
)

// stepLink is a link that takes one frame at a time. Whoever reads asks for a
// frame first, so it is known when the one before is dealt with.
type stepLink struct {
	asks   chan struct{}
	frames chan []byte
	bell   chan struct{}
	sent   int // frames written; read while the reader at the other end asks
}

func newStepLink() *stepLink {
	return &stepLink{asks: make(chan struct{}), frames: make(chan []byte), bell: make(chan struct{}, 1)}
}

func (l *stepLink) ReadFrame(b []byte) (int, error) {
	select {
	case l.asks <- struct{}{}:
	case <-l.bell:
		return 0, tun.ErrInterrupted
	}
	f, ok := <-l.frames
	if !ok {
		return 0, os.ErrClosed
	}
	return copy(b, f), nil
}

func (l *stepLink) WriteFrame([]byte) error {
	l.sent++
	return nil
}

func (l *stepLink) Interrupt() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

func (*stepLink) MTU() int             { return 0 }
func (*stepLink) Offload() tun.Offload { return 0 }

// gatewayLab is an engine with a gateway per interface: the workload is at A,
// the network at B, and the port at A. With mirrored set it is at B, and the
// workload too.
type gatewayLab struct {
	engine *enforce.Engine
	now    time.Time
	ends   map[sg.InterfaceID][2]*stepLink // workload, network
}

func newGatewayLab(mirrored bool) func(*testing.T, []enforcetest.Interface) enforcetest.Lab {
	return func(t *testing.T, ifaces []enforcetest.Interface) enforcetest.Lab {
		l := &gatewayLab{now: time.Now(), ends: map[sg.InterfaceID][2]*stepLink{}}
		l.engine = enforce.NewEngine(enforce.Options{
			Conntrack: conntrack.Options{MaxEntries: 4096, MaxFragments: 1, Shards: 1},
			Now:       func() time.Time { return l.now },
		})
		ctx, stop := context.WithCancel(context.Background())
		var all sync.WaitGroup
		t.Cleanup(func() { stop(); all.Wait() })
		for _, i := range ifaces {
			workload, network := newStepLink(), newStepLink()
			l.ends[i.ID] = [2]*stepLink{workload, network}
			a := tun.End{Links: []tun.Link{workload}, Port: l.engine.Port(i.ID)}
			b := tun.End{Links: []tun.Link{network}}
			if mirrored {
				a, b = b, a
			}
			g, err := tun.NewGateway(a, b, tun.GatewayOptions{})
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				if err := g.Run(ctx); err != context.Canceled {
					t.Error(err)
				}
			})
		}
		return l
	}
}

func (l *gatewayLab) Apply(ctx context.Context, m *compile.Matcher) error {
	return l.engine.Apply(ctx, m)
}
func (l *gatewayLab) Close() error            { return l.engine.Close() }
func (l *gatewayLab) Advance(d time.Duration) { l.now = l.now.Add(d) }

func (l *gatewayLab) Send(i sg.InterfaceID, d sg.Direction, pkt []byte) (bool, error) {
	from, to := l.ends[i][0], l.ends[i][1]
	if d == sg.Ingress {
		from, to = to, from
	}
	<-from.asks
	before := to.sent
	from.frames <- append(make([]byte, tun.HeaderLen), pkt...)
	<-from.asks // it asks for the next one, which is none of ours
	passed := to.sent > before
	from.frames <- nil // too short to be a frame
	return passed, nil
}

// TestGatewayConformance: what comes through a gateway is what ir.Eval and the
// engine let through, whichever end has the port.
func TestGatewayConformance(t *testing.T) {
	t.Run("port at A", func(t *testing.T) { enforcetest.Run(t, enforcetest.Options{New: newGatewayLab(false)}) })
	t.Run("port at B", func(t *testing.T) { enforcetest.Run(t, enforcetest.Options{New: newGatewayLab(true)}) })
}
