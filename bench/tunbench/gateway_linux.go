package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"example.com/secgroup/bench/tunbench/internal/lab"
	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/tun"
)

// runGateway is what a gateway process of ours does.
func runGateway(v variant) error {
	open := func(ns int) (d *tun.TUN, err error) {
		err = lab.In(ns, func() error {
			d, err = tun.Open(tun.Options{Name: lab.TUN, NoOffload: v.plain})
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
	var port *enforce.Port
	if v.filter {
		if port, err = lab.Port(); err != nil {
			return err
		}
	}
	g, err := tun.NewGateway(tun.End{Links: client.Links()}, tun.End{Links: server.Links(), Port: port}, tun.GatewayOptions{})
	if err != nil {
		return err
	}
	go func() {
		if err := g.Run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	return lab.Serve(os.Stdin, os.Stdout, lab.CPU)
}

// gateway is a gateway process.
type gateway struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a gateway between two hosts, and gives their TUNs addresses.
func start(command []string, client, server *host) (*gateway, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{client.file, server.file}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	g := &gateway{cmd: cmd, in: in, out: bufio.NewReader(out)}
	if line, err := g.out.ReadString('\n'); err != nil || line != "ready\n" {
		g.stop()
		return nil, fmt.Errorf("%v did not start: %q, %w", command, line, err)
	}
	if err := client.address(lab.TUN, lab.ClientAddr); err != nil {
		g.stop()
		return nil, err
	}
	if err := server.address(lab.TUN, lab.ServerAddr); err != nil {
		g.stop()
		return nil, err
	}
	return g, nil
}

// cpu asks for the CPU time of the process so far.
func (g *gateway) cpu() (time.Duration, error) {
	if _, err := io.WriteString(g.in, "cpu\n"); err != nil {
		return 0, err
	}
	line, err := g.out.ReadString('\n')
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return time.Duration(n), err
}

func (g *gateway) stop() {
	_ = g.in.Close()
	_ = g.cmd.Wait()
}
