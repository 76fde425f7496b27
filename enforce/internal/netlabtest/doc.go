// Package netlabtest is a kernel lab: a router in a network namespace of its
// own, packets put on its wires raw, and what comes out observed. It exists to
// judge firewalls in the Linux kernel at tens of thousands of packets per
// second, without waiting for what does not arrive.
//
// A lab has two unnamed network namespaces. The host namespace is the router
// under test: it forwards IPv4 and IPv6, and rulesets are loaded into it. The
// peer namespace holds the far end of every wire; its kernel has no address,
// ignores all that arrives and sends nothing, so that every packet there is one
// that the lab injected or that the router let out. Both vanish with
// [Lab.Close], and with the process at the latest. Nothing in a lab is
// connected to anything outside it.
//
// # How a deny is told without waiting
//
// One thread, bound to one CPU, injects. A packet that enters a virtual wire
// joins the backlog of that CPU, first in, first out, whatever the wire; so does
// the packet that leaves the router towards the peer namespace. After each
// packet the lab sends a marker along a wire of its own that no ruleset can
// see, several times in a row: when a marker has made as many passes through
// the backlog as a packet needs to cross the router, then that packet, and what
// the router answered to it, has arrived before, or never will. This takes
// microseconds, and every packet that comes out belongs to the step that was
// under way.
//
// Packets are never changed on the way in, and recognised by their bytes.
//
// The claim holds for all that the kernel does in the softirq that received the
// packet: forwarding, connection tracking, reassembly, reject answers. It does
// not hold for what the kernel puts off to a timer, for NFQUEUE, for what a
// process in the host namespace sends, or where RPS is switched on for the
// router's devices. A verdict is never a guess: a marker that is lost, a backlog
// that overflows and a packet that no socket had room for are errors.
//
// # Use
//
//	func TestMain(m *testing.M) { netlabtest.Main(m) }
//
//	lab := netlabtest.Start(t, netlabtest.Config{
//		Ports: []netlabtest.Port{
//			{Device: "sg0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32")}},
//		},
//		Uplinks: []netlabtest.Uplink{{Device: "up0"}},
//	})
//	err := lab.Ruleset(t.Context(), text)
//	arrived, err := lab.Send([]netlabtest.Step{{From: "up0", To: "sg0", Packet: syn}})
//
// The package works on Linux only; elsewhere it is empty. It needs the commands
// ip and nft.
package netlabtest
