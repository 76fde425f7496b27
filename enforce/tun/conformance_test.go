package tun_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/tun"
	"example.com/secgroup/sg"
)

// errNoMore is what onePacket returns where a real device would wait.
var errNoMore = errors.New("no more packets")

// onePacket is a device that has one packet to read, and keeps what is written.
type onePacket struct {
	next    []byte
	written int
}

func (d *onePacket) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	if d.next == nil {
		return 0, errNoMore
	}
	sizes[0] = copy(bufs[0][offset:], d.next)
	d.next = nil
	return 1, nil
}

func (d *onePacket) Write(bufs [][]byte, _ int) (int, error) {
	d.written += len(bufs)
	return len(bufs), nil
}

func (*onePacket) BatchSize() int { return 1 }
func (*onePacket) Close() error   { return nil }

// filterLab is an engine with a filtered device per interface.
type filterLab struct {
	engine  *enforce.Engine
	now     time.Time
	devices map[sg.InterfaceID]*onePacket
	filters map[sg.InterfaceID]*tun.Filter
}

func newFilterLab(_ *testing.T, ifaces []enforcetest.Interface) enforcetest.Lab {
	l := &filterLab{now: time.Now(), devices: map[sg.InterfaceID]*onePacket{}, filters: map[sg.InterfaceID]*tun.Filter{}}
	l.engine = enforce.NewEngine(enforce.Options{
		Conntrack: conntrack.Options{MaxEntries: 4096, MaxFragments: 1, Shards: 1},
		Now:       func() time.Time { return l.now },
	})
	for _, i := range ifaces {
		l.devices[i.ID] = &onePacket{}
		l.filters[i.ID] = tun.New(l.devices[i.ID], l.engine.Port(i.ID), tun.FilterOptions{})
	}
	return l
}

func (l *filterLab) Apply(ctx context.Context, m *compile.Matcher) error {
	return l.engine.Apply(ctx, m)
}
func (l *filterLab) Close() error            { return l.engine.Close() }
func (l *filterLab) Advance(d time.Duration) { l.now = l.now.Add(d) }

func (l *filterLab) Send(i sg.InterfaceID, d sg.Direction, pkt []byte) (bool, error) {
	f, dev := l.filters[i], l.devices[i]
	if d == sg.Ingress {
		before := dev.written
		_, err := f.Write([][]byte{pkt}, 0)
		return dev.written > before, err
	}
	dev.next = pkt
	bufs, sizes := [][]byte{make([]byte, 2048)}, make([]int, 1)
	n, err := f.Read(bufs, sizes, 0)
	if errors.Is(err, errNoMore) {
		err = nil
	}
	return n == 1, err
}

// TestConformance: what comes through a filtered device is what ir.Eval and the
// engine let through.
func TestConformance(t *testing.T) {
	enforcetest.Run(t, enforcetest.Options{New: newFilterLab})
}
