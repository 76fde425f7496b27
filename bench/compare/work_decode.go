package main

import (
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	nebulafw "github.com/slackhq/nebula/firewall"
	tspacket "tailscale.com/net/packet"

	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// decoder counts the packets that it decodes without fault.
type decoder func(packets [][]byte) int

// decodeTrials are decoders alone, on TCP and UDP packets in the cache.
func decodeTrials() []trial {
	var out []trial
	for _, f := range families {
		out = append(out, trial{
			name: fmt.Sprintf("decode/v%d", f), about: "headers of a TCP or UDP packet",
			contestants: []contestant{
				{"secgroup", opensDecode(f, secgroupDecode)},
				{"tailscale", opensDecode(f, tailscaleDecode)},
				{"nebula", opensDecode(f, nebulaDecode)},
				{"gopacket", opensDecode(f, gopacketDecode(f))},
			},
		})
	}
	return out
}

func secgroupDecode(packets [][]byte) (n int) {
	var p packet.Packet
	for _, b := range packets {
		if packet.Decode(b, &p) == nil {
			n++
		}
	}
	return n
}

func tailscaleDecode(packets [][]byte) (n int) {
	var p tspacket.Parsed
	for _, b := range packets {
		if p.Decode(b); p.IPVersion != 0 && p.Dst.Port() != 0 {
			n++
		}
	}
	return n
}

func nebulaDecode(packets [][]byte) (n int) {
	var p nebulafw.Packet
	for _, b := range packets {
		if nebulaParse(b, true, &p) == nil {
			n++
		}
	}
	return n
}

// gopacketDecode is its DecodingLayerParser, the fast way.
func gopacketDecode(f sg.Family) decoder {
	var ip4 layers.IPv4
	var ip6 layers.IPv6
	var tcp layers.TCP
	var udp layers.UDP
	var data gopacket.Payload
	first := layers.LayerTypeIPv4
	if f == sg.IPv6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewDecodingLayerParser(first, &ip4, &ip6, &tcp, &udp, &data)
	p.IgnoreUnsupported = true // what it takes for DNS, say
	found := make([]gopacket.LayerType, 0, 4)
	return func(packets [][]byte) (n int) {
		for _, b := range packets {
			if p.DecodeLayers(b, &found) == nil && len(found) > 1 {
				n++
			}
		}
		return n
	}
}

// decodes is an engine that accepts what it can decode.
type decodes struct{ decoder }

func (e decodes) filter(_ sg.Direction, packets [][]byte) int { return e.decoder(packets) }
func (e decodes) forget() error                               { return nil }
func (e decodes) close()                                      {}

func opensDecode(f sg.Family, d decoder) func() (meter, error) {
	return func() (meter, error) {
		w := ruleWorld(1_000)
		flows, err := w.flows(f, hotFlows, true)
		if err != nil {
			return nil, err
		}
		t := &traffic{engine: decodes{d}, dir: sg.Ingress, ring: w.opening(flows, hotFlows), accept: true}
		if err := expect(t.engine, t.dir, t.ring, true); err != nil {
			return nil, err
		}
		return timed(t), nil
	}
}
