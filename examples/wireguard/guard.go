package main

import (
	"golang.zx2c4.com/wireguard/tun"

	"example.com/secgroup/enforce"
	sgtun "example.com/secgroup/enforce/tun"
)

// guarded is a TUN device of wireguard-go behind a security group: what the
// host sends into the tunnel is egress of the port's interface, what comes out
// of it ingress. Events, name, MTU and file are those of the device.
type guarded struct {
	tun.Device
	filter *sgtun.Filter
}

var _ tun.Device = guarded{}

// guard puts the security groups of p in front of d. This is all that it takes.
func guard(d tun.Device, p *enforce.Port) tun.Device {
	return guarded{d, sgtun.New(d, p, sgtun.FilterOptions{})}
}

func (g guarded) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	return g.filter.Read(bufs, sizes, offset)
}

func (g guarded) Write(bufs [][]byte, offset int) (int, error) { return g.filter.Write(bufs, offset) }
func (g guarded) BatchSize() int                               { return g.filter.BatchSize() }
func (g guarded) Close() error                                 { return g.filter.Close() }
