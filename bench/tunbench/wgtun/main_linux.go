// Command wgtun is the gateway that tunbench compares with: the TUN devices of
// wireguard-go, which cut super-packets into segments and join segments to
// super-packets, with the Filter of package enforce/tun around one of them.
//
// It is a module of its own, so that who uses secgroup does not depend on
// wireguard-go. tunbench builds and starts it.
package main

import (
	"fmt"
	"os"

	wg "golang.zx2c4.com/wireguard/tun"

	"example.com/secgroup/bench/tunbench/internal/lab"
	"example.com/secgroup/enforce/tun"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "wgtun:", err)
		os.Exit(1)
	}
}

func run() error {
	open := func(ns int) (d wg.Device, err error) {
		err = lab.In(ns, func() error {
			d, err = wg.CreateTUN(lab.TUN, 1500)
			return err
		})
		return d, err
	}
	client, err := open(lab.ClientNS)
	if err != nil {
		return err
	}
	server, err := open(lab.ServerNS)
	if err != nil {
		return err
	}
	port, err := lab.Port()
	if err != nil {
		return err
	}
	filtered := tun.New(server, port, tun.FilterOptions{})
	go pump(client, filtered)
	go pump(filtered, client)
	return lab.Serve(os.Stdin, os.Stdout, lab.CPU)
}

// pump moves packets in batches until the devices close.
func pump(from, to tun.Device) {
	const room = 16 // for the header of virtio
	bufs, sizes := make([][]byte, from.BatchSize()), make([]int, from.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, room+65535)
	}
	out := make([][]byte, len(bufs))
	for {
		n, err := from.Read(bufs, sizes, room)
		if err != nil {
			return
		}
		for i := range n {
			out[i] = bufs[i][:room+sizes[i]]
		}
		_, _ = to.Write(out[:n], room) // what is lost is measured as such
	}
}
