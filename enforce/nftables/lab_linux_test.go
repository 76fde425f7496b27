package nftables

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
)

// kernelLab is the backend in a lab of network namespaces.
type kernelLab struct {
	*Backend
	t      testing.TB
	lab    *netlabtest.Lab
	device map[sg.InterfaceID]string
	uplink map[sg.InterfaceID]string

	breakages []breakage
	breaks    int
	broken    *breakage // how the next Apply fails; nil: it does not
}

// newKernelLab builds a router with a port per interface and an uplink per VPC.
func newKernelLab(t testing.TB, ifaces []enforcetest.Interface, o Options) *kernelLab {
	l := &kernelLab{t: t, device: map[sg.InterfaceID]string{}, uplink: map[sg.InterfaceID]string{}}
	var c netlabtest.Config
	vpcs := map[sg.VPCID]int{}
	o.Uplinks = map[string]sg.VPCID{}
	for i, f := range ifaces {
		if _, ok := vpcs[f.VPC]; !ok {
			vpcs[f.VPC] = len(vpcs)
			up := fmt.Sprintf("up%d", vpcs[f.VPC])
			c.Uplinks = append(c.Uplinks, netlabtest.Uplink{Device: up, VPC: vpcs[f.VPC]})
			o.Uplinks[up] = f.VPC
		}
		l.device[f.ID] = fmt.Sprintf("sg%d", i)
		l.uplink[f.ID] = fmt.Sprintf("up%d", vpcs[f.VPC])
		c.Ports = append(c.Ports, netlabtest.Port{Device: l.device[f.ID], VPC: vpcs[f.VPC], Addrs: f.Addrs})
	}
	o.Device = func(id sg.InterfaceID) (string, bool) {
		d, ok := l.device[id]
		return d, ok
	}
	o.Protect = []string{"sg*"}
	l.lab = netlabtest.Start(t, c)
	b, err := New(o)
	require.NoError(t, err)
	l.Backend, l.breakages = b, breakages(t, b)
	require.NoError(t, l.lab.Do(func() error { return b.Prepare(t.Context()) }))
	return l
}

func (l *kernelLab) Apply(ctx context.Context, m *compile.Matcher) error {
	if l.broken != nil {
		return l.applyBroken(ctx, m)
	}
	return l.lab.Do(func() error { return l.Backend.Apply(ctx, m) })
}

func (l *kernelLab) Close() error { return l.lab.Do(l.Backend.Close) }

func (l *kernelLab) Send(i sg.InterfaceID, d sg.Direction, pkt []byte) (bool, error) {
	out, err := l.SendAll([]enforcetest.Step{{Interface: i, Direction: d, Packet: pkt}})
	if err != nil {
		return false, err
	}
	return out[0], nil
}

func (l *kernelLab) SendAll(steps []enforcetest.Step) ([]bool, error) {
	list := make([]netlabtest.Step, len(steps))
	for i, s := range steps {
		dev, ok := l.device[s.Interface]
		if !ok {
			return nil, fmt.Errorf("no interface %s: %w", s.Interface, errors.ErrUnsupported)
		}
		list[i] = netlabtest.Step{From: dev, To: l.uplink[s.Interface], Packet: s.Packet}
		if s.Direction == sg.Ingress {
			list[i].From, list[i].To = list[i].To, list[i].From
		}
	}
	return l.lab.Send(list)
}

func TestConformance(t *testing.T) {
	netlabtest.Require(t)
	enforcetest.Run(t, enforcetest.Options{
		New: func(t *testing.T, i []enforcetest.Interface) enforcetest.Lab {
			return newKernelLab(t, i, Options{})
		},
	})
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
