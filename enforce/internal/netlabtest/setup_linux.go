package netlabtest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"unsafe"
)

// Names of the lab's own wire in the peer namespace.
const (
	markerOut = "netlabtest0"
	markerIn  = "netlabtest1"
)

// Routes of VPC k are in table firstTable+k where a lab has several VPCs.
const firstTable = 1000

// Gateways that every route goes through. Nobody has these addresses: they keep
// the neighbour tables at one entry per device, and the devices have no ARP.
const (
	gateway4 = "169.254.254.254"
	gateway6 = "fe80::1"
)

// hostAddr6 is the router's own address unless the caller gives others: an
// ICMPv6 error needs a source. (For ICMP the kernel takes 192.0.0.8.)
const hostAddr6 = "fd00:6e65:746c:6162::1/128"

// wire is one veth pair: its near end in the host namespace, its far end, of
// the same name, in the peer namespace.
type wire struct {
	device    string
	vpc       int
	routes    []netip.Prefix
	near, far net.HardwareAddr
}

func (c Config) wires() ([]wire, error) {
	var out []wire
	add := func(device string, vpc int, routes []netip.Prefix) {
		n := len(out)
		out = append(out, wire{
			device: device, vpc: vpc, routes: routes,
			near: net.HardwareAddr{2, 0, 0, 1, byte(n >> 8), byte(n)},
			far:  net.HardwareAddr{2, 0, 0, 2, byte(n >> 8), byte(n)},
		})
	}
	for _, p := range c.Ports {
		add(p.Device, p.VPC, p.Addrs)
	}
	for _, u := range c.Uplinks {
		remotes := u.Remotes
		if len(remotes) == 0 {
			remotes = []netip.Prefix{
				netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0),
			}
		}
		add(u.Device, u.VPC, remotes)
	}
	if len(out) > 1<<16 {
		return nil, fmt.Errorf("netlabtest: %d devices are too many", len(out))
	}
	if c.MTU != 0 && (c.MTU < 1280 || c.MTU > 65535) {
		return nil, fmt.Errorf("netlabtest: MTU %d out of range: IPv6 needs 1280", c.MTU)
	}
	seen := map[string]bool{"lo": true, markerIn: true, markerOut: true}
	for _, w := range out {
		switch {
		case w.device == "" || len(w.device) > 15 || strings.ContainsAny(w.device, "/ \t\n%") || strings.HasPrefix(w.device, "-"):
			return nil, fmt.Errorf("netlabtest: %q is no name for a device", w.device)
		case seen[w.device]:
			return nil, fmt.Errorf("netlabtest: device %q twice, or a name of the lab's own", w.device)
		case w.vpc < 0 || w.vpc > 1<<24:
			return nil, fmt.Errorf("netlabtest: device %q: VPC %d out of range", w.device, w.vpc)
		}
		for _, p := range w.routes {
			if !p.IsValid() || p.Addr().Is4In6() {
				return nil, fmt.Errorf("netlabtest: device %q: bad prefix %v", w.device, p)
			}
		}
		seen[w.device] = true
	}
	return out, nil
}

// sysctl is one kernel parameter below /proc/sys.
type sysctl struct {
	name, value string
	optional    bool // kernels without it, or that keep it from namespaces, will do
}

func quietKernel() []sysctl {
	return []sysctl{
		{"net/ipv6/conf/all/disable_ipv6", "1", true},
		{"net/ipv6/conf/default/disable_ipv6", "1", true},
		{"net/ipv4/ip_forward", "0", false},
	}
}

func router() []sysctl {
	out := []sysctl{
		{"net/ipv4/ip_forward", "1", false},
		{"net/ipv4/icmp_ratelimit", "0", false},
		{"net/ipv4/icmp_msgs_per_sec", "1000000000", true}, // older kernels keep it from namespaces
		{"net/ipv4/icmp_msgs_burst", "1000000000", true},
		{"net/ipv4/tcp_invalid_ratelimit", "0", true},
		{"net/ipv6/icmp/ratelimit", "0", false},
	}
	for _, scope := range []string{"all", "default"} {
		v4, v6 := "net/ipv4/conf/"+scope+"/", "net/ipv6/conf/"+scope+"/"
		out = append(out,
			sysctl{v4 + "forwarding", "1", false},
			sysctl{v4 + "rp_filter", "0", false},
			sysctl{v4 + "accept_local", "1", false},
			sysctl{v4 + "send_redirects", "0", false},
			sysctl{v4 + "accept_redirects", "0", false},
			sysctl{v6 + "disable_ipv6", "0", false},
			sysctl{v6 + "forwarding", "1", false},
			sysctl{v6 + "accept_ra", "0", false},
			sysctl{v6 + "accept_redirects", "0", false},
			sysctl{v6 + "autoconf", "0", false},
			sysctl{v6 + "accept_dad", "0", false},
			sysctl{v6 + "dad_transmits", "0", false},
			sysctl{v6 + "addr_gen_mode", "1", true}, // no link-local address
			sysctl{v6 + "router_solicitations", "0", false},
		)
	}
	// Whether a packet is forwarded is for "all" to say, and a device that does
	// not call itself a router reports no membership of the routers' group.
	return append(out, sysctl{"net/ipv6/conf/default/forwarding", "0", false})
}

func tracking() []sysctl {
	out := []sysctl{
		{"net/netfilter/nf_conntrack_tcp_loose", "0", false},
		{"net/netfilter/nf_conntrack_tcp_be_liberal", "0", false},
		{"net/netfilter/nf_conntrack_checksum", "1", false},
	}
	// On a busy machine three seconds, or half a minute, are soon over.
	for _, of := range []string{
		"udp_timeout", "icmp_timeout", "icmpv6_timeout", "tcp_timeout_close", "tcp_timeout_last_ack",
		"sctp_timeout_closed", "sctp_timeout_cookie_wait", "sctp_timeout_cookie_echoed",
		"sctp_timeout_shutdown_sent", "sctp_timeout_shutdown_recd", "sctp_timeout_shutdown_ack_sent",
	} {
		out = append(out, sysctl{"net/netfilter/nf_conntrack_" + of, "3600", strings.HasPrefix(of, "sctp")}) // a kernel may lack SCTP
	}
	return out
}

// write sets kernel parameters of the calling thread's namespace.
func write(parameters []sysctl) error {
	for _, p := range parameters {
		err := os.WriteFile("/proc/sys/"+p.name, []byte(p.value), 0)
		if err == nil || p.optional && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
			continue
		}
		return fmt.Errorf("netlabtest: %w", err)
	}
	return nil
}

// tool runs a command in the calling thread's namespace, with ns as its file 3.
func tool(stdin string, ns *os.File, name string, args ...string) error {
	path, err := find(name)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	if ns != nil {
		cmd.ExtraFiles = []*os.File{ns}
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("netlabtest: %s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// find is exec.LookPath that knows where administrators' commands are: the PATH
// of an ordinary user may lack them.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || strings.Contains(name, "/") {
		return path, err
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path, nil
		}
	}
	return "", err
}

// setupHost makes a router of the host namespace, which it runs in, and all
// wires, their near ends raised.
func setupHost(c Config, wires []wire, peer *os.File) error {
	if err := write(router()); err != nil {
		return err
	}
	// Connection tracking may be a module that is not there yet.
	const probe = "table inet netlabtest {\n chain c {\n ct state new\n }\n}\ndelete table inet netlabtest\n"
	if err := tool(probe, nil, "nft", "-f", "-"); err != nil {
		return err
	}
	if err := write(tracking()); err != nil {
		return err
	}
	var links strings.Builder
	fmt.Fprintln(&links, "link set lo up")
	for _, w := range wires {
		fmt.Fprintf(&links, "link add name %s mtu %d address %s type veth peer name %[1]s mtu %[2]d address %[4]s netns /proc/self/fd/3\n",
			w.device, c.mtu(), w.near, w.far)
		fmt.Fprintf(&links, "link set dev %s arp off multicast off up\n", w.device)
	}
	if err := tool(links.String(), peer, "ip", "-batch", "-"); err != nil {
		return err
	}
	for _, w := range wires {
		if err := checksumInSoftware(w.device); err != nil {
			return err
		}
	}
	return nil
}

// setupRoutes gives the router addresses and routes. It runs in the host
// namespace when the wires are up.
func setupRoutes(c Config, wires []wire) error {
	vpcs := make(map[int]bool)
	for _, w := range wires {
		vpcs[w.vpc] = true
	}
	var routes, rules strings.Builder
	own := c.HostAddrs
	if len(own) == 0 {
		own = []netip.Prefix{netip.MustParsePrefix(hostAddr6)}
	}
	for _, a := range own {
		fmt.Fprintf(&routes, "addr add %v dev lo\n", a)
		if a.Addr().Is6() {
			// The kernel makes the route of an IPv6 address later, from a work
			// queue (addrconf.c: addrconf_dad_work): on a busy machine after the
			// first packets.
			fmt.Fprintf(&routes, "route replace local %v dev lo table local\n", a.Addr())
		}
	}
	if len(vpcs) > 1 {
		for _, vpc := range slices.Sorted(maps.Keys(vpcs)) {
			for _, all := range []string{"0.0.0.0/0", "::/0"} {
				fmt.Fprintf(&routes, "route add blackhole %s table %d metric 4294967295\n", all, firstTable+vpc)
			}
		}
	}
	for _, w := range wires {
		if len(vpcs) > 1 {
			fmt.Fprintf(&rules, "rule add pref %d iif %s lookup %d\n", firstTable, w.device, firstTable+w.vpc)
		}
	}
	// The main table serves the router's own packets too. Where VPCs share
	// addresses, the lowest has them there.
	ordered := slices.Clone(wires)
	slices.SortStableFunc(ordered, func(a, b wire) int { return cmp.Compare(a.vpc, b.vpc) })
	inMain := make(map[netip.Prefix]int)
	for _, w := range ordered {
		for _, p := range w.routes {
			via := gateway4
			if p.Addr().Is6() {
				via = gateway6
			}
			route := fmt.Sprintf("route add %v via %s dev %s onlink", p.Masked(), via, w.device)
			if vpc, taken := inMain[p.Masked()]; !taken || vpc == w.vpc {
				inMain[p.Masked()] = w.vpc
				fmt.Fprintln(&routes, route)
			}
			if len(vpcs) > 1 {
				fmt.Fprintf(&routes, "%s table %d\n", route, firstTable+w.vpc)
			}
		}
	}
	if err := tool(routes.String(), nil, "ip", "-batch", "-"); err != nil {
		return err
	}
	for _, family := range []string{"-4", "-6"} {
		if err := tool(rules.String(), nil, "ip", family, "-batch", "-"); err != nil {
			return err
		}
	}
	return nil
}

// setupPeer makes the marker's wire and raises all far ends. It runs in the peer
// namespace, and returns the devices there.
func setupPeer(wires []wire) (map[string]int, error) {
	var links strings.Builder
	fmt.Fprintf(&links, "link add name %s type veth peer name %s\n", markerOut, markerIn)
	// Of a pair, the end that is raised last can send at once. The other, as the
	// near ends of the wires, waits for the kernel's link watch.
	for _, name := range []string{markerIn, markerOut} {
		fmt.Fprintf(&links, "link set dev %s arp off multicast off up\n", name)
	}
	for _, w := range wires {
		fmt.Fprintf(&links, "link set dev %s arp off multicast off up\n", w.device)
	}
	if err := tool(links.String(), nil, "ip", "-batch", "-"); err != nil {
		return nil, err
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	out := make(map[string]int, len(all))
	for _, i := range all {
		out[i.Name] = i.Index
	}
	return out, nil
}

// checksumInSoftware has the kernel fill in the checksums of packets that it
// makes itself before they leave by device, as an observer expects them.
func checksumInSoftware(device string) error {
	const (
		siocEthtool   = 0x8946
		setTxChecksum = 0x17
	)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)
	value := struct{ command, data uint32 }{command: setTxChecksum}
	request := struct {
		name [16]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:15], device)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), siocEthtool, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("netlabtest: checksum offload of %s: %w", device, errno)
	}
	return nil
}
