// Command wireguard puts a security group into a WireGuard tunnel: it wraps the
// TUN device of wireguard-go, which then knows nothing of it.
//
//	cd examples/wireguard && go run .
//
// The demonstration needs no root: two WireGuard peers in one process, joined
// by channels instead of sockets, with packets put into the one and taken out
// of the other. A real device is wrapped the same way, see guard.go. The
// example is a module of its own, so that the library does not depend on
// WireGuard.
package main

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/conn/bindtest"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy/document"
)

const policy = `{"profile": "strict",
 "security_groups": [{"id": "sg-alice", "name": "alice",
   "inbound_rules": [{"id": "ssh", "protocol": "tcp", "port_range": "22", "source": "10.9.0.2/32"}],
   "outbound_rules": [{"id": "dns", "protocol": "udp", "port_range": "53", "destination": "10.9.0.2/32"}]}],
 "interfaces": [{"id": "alice", "addresses": ["10.9.0.1"], "security_group_ids": ["sg-alice"]}]}`

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(w io.Writer) error {
	events := make(chan enforce.Event, 16) // more than the demonstration ever holds
	engine := enforce.NewEngine(enforce.Options{OnEvent: func(e *enforce.Event) {
		select {
		case events <- *e:
		default: // must not block
		}
	}})
	snapshot, err := document.Decode([]byte(policy), document.Options{Profiles: dialect.Profile})
	if err != nil {
		return err
	}
	matcher, err := compile.Compile(snapshot)
	if err != nil {
		return err
	}
	if err := engine.Apply(context.Background(), matcher); err != nil {
		return err
	}

	alice, bob := tuntest.NewChannelTUN(), tuntest.NewChannelTUN()
	stop, err := tunnel(guard(alice.TUN(), engine.Port("alice")), bob.TUN())
	if err != nil {
		return err
	}
	defer stop()

	fmt.Fprintln(w, "alice's group: tcp 22 in from bob, udp 53 out to bob")
	at := netip.MustParseAddrPort
	for _, c := range []struct {
		what     string
		from, to *tuntest.ChannelTUN
		packet   []byte
	}{
		{"bob to alice, tcp 22", bob, alice, enforcetest.TCP(at("10.9.0.2:40001"), at("10.9.0.1:22"), packet.SYN, 1, 0)},
		{"alice's answer", alice, bob, enforcetest.TCP(at("10.9.0.1:22"), at("10.9.0.2:40001"), packet.SYN|packet.ACK, 1, 2)},
		{"bob to alice, tcp 23", bob, alice, enforcetest.TCP(at("10.9.0.2:40002"), at("10.9.0.1:23"), packet.SYN, 1, 0)},
		{"alice to bob, udp 53", alice, bob, enforcetest.UDP(at("10.9.0.1:40003"), at("10.9.0.2:53"))},
		{"alice to bob, udp 123", alice, bob, enforcetest.UDP(at("10.9.0.1:40004"), at("10.9.0.2:123"))},
	} {
		result, err := send(c.from, c.to, c.packet, events)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		fmt.Fprintf(w, "  %-22s %s\n", c.what, result)
	}
	return nil
}

// send puts a packet into one end of the tunnel and says what becomes of it.
func send(from, to *tuntest.ChannelTUN, pkt []byte, events <-chan enforce.Event) (string, error) {
	from.Outbound <- pkt
	why := ""
	for deadline := time.After(20 * time.Second); ; {
		select {
		case e := <-events:
			switch e.Kind {
			case enforce.FlowDenied:
				return "dropped: " + e.Verdict.Reason.String(), nil
			case enforce.FlowOpened:
				why = " by " + e.Rule.String()
			}
		case <-to.Inbound:
			return "arrived" + why, nil
		case <-deadline:
			return "", errors.New("neither arrived nor dropped")
		}
	}
}

// tunnel connects two devices by WireGuard, in this process.
func tunnel(alice, bob tun.Device) (stop func(), err error) {
	binds := bindtest.NewChannelBinds()
	keys := [2]*ecdh.PrivateKey{}
	for i := range keys {
		if keys[i], err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return nil, err
		}
	}
	var devices []*device.Device
	stop = func() {
		for _, d := range devices {
			d.Close()
		}
	}
	for i, end := range []tun.Device{alice, bob} {
		d := device.NewDevice(end, conn.Bind(binds[i]), device.NewLogger(device.LogLevelError, ""))
		devices = append(devices, d)
		config := fmt.Sprintf("private_key=%s\nlisten_port=0\npublic_key=%s\nallowed_ip=10.9.0.%d/32\n",
			hex.EncodeToString(keys[i].Bytes()), hex.EncodeToString(keys[1-i].PublicKey().Bytes()), 2-i)
		if err := errors.Join(d.IpcSet(config), d.Up()); err != nil {
			stop()
			return nil, err
		}
	}
	for i, d := range devices {
		state, err := devices[1-i].IpcGet()
		if err == nil {
			_, port, _ := strings.Cut(state, "listen_port=")
			port, _, _ = strings.Cut(port, "\n")
			err = d.IpcSet("public_key=" + hex.EncodeToString(keys[1-i].PublicKey().Bytes()) + "\nendpoint=127.0.0.1:" + port + "\n")
		}
		if err != nil {
			stop()
			return nil, err
		}
	}
	return stop, nil
}
