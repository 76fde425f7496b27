package main

import (
	"net/netip"

	"go4.org/netipx"
	"tailscale.com/net/packet"
	"tailscale.com/types/ipproto"
	"tailscale.com/types/views"
	"tailscale.com/wgengine/filter"

	"example.com/secgroup/sg"
)

// tailscaleFlows is how many UDP flows its state holds (lruMax is 512).
const tailscaleFlows = 500

// tailscale is a filter.Filter. Its state is of UDP flows that were opened from
// inside; TCP segments that are no SYN pass unseen. It is safe for concurrent
// use.
type tailscale struct {
	w *world
	f *filter.Filter
}

func newTailscale(w *world, _ int) (engine, error) {
	e := &tailscale{w: w}
	return e, e.forget()
}

// forget makes the filter anew: there is no other way.
func (e *tailscale) forget() error {
	local, err := tailscaleLocal(e.w)
	if err == nil {
		e.f = filter.New(tailscaleMatches(e.w.rules, e.w), nil, local, nil, nil, discardf)
	}
	return err
}

func discardf(string, ...any) {}

func tailscaleLocal(w *world) (*netipx.IPSet, error) {
	var b netipx.IPSetBuilder
	for _, a := range w.local {
		b.Add(a)
	}
	return b.IPSet()
}

// tailscaleMatches is one match per rule, with all prefixes of its peer: from
// seven on they are in a bart.Lite.
func tailscaleMatches(rules []rule, w *world) []filter.Match {
	out := make([]filter.Match, 0, len(rules))
	for _, r := range rules {
		ports := filter.PortRange{First: 0, Last: 65535}
		if r.Protocol.HasPorts() {
			ports = filter.PortRange{First: r.Ports.First, Last: r.Ports.Last}
		}
		var to []filter.NetPortRange
		for _, a := range w.local {
			if len(r.sources) > 0 && a.BitLen() == r.sources[0].Addr().BitLen() {
				to = append(to, filter.NetPortRange{Net: netip.PrefixFrom(a, a.BitLen()), Ports: ports})
			}
		}
		out = append(out, filter.Match{
			IPProto: views.SliceOf([]ipproto.Proto{ipproto.Proto(r.Protocol)}), Srcs: r.sources, Dsts: to,
		})
	}
	return out
}

func (e *tailscale) filter(d sg.Direction, packets [][]byte) (n int) {
	var p packet.Parsed
	for _, b := range packets {
		p.Decode(b)
		if d == sg.Ingress {
			if e.f.RunIn(&p, 0) == filter.Accept {
				n++
			}
		} else if r, _ := e.f.RunOut(&p, 0); r == filter.Accept {
			n++
		}
	}
	return n
}

func (e *tailscale) close() {}
