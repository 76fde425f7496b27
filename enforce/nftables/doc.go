// Package nftables enforces a policy in the Linux kernel, through nft(8) and
// netlink.
//
// Render writes the ruleset of a policy as a script that an administrator can
// read, and RenderDelta the difference between two. A Backend puts policies in
// force: one transaction leads from the old one to the new, a change of members
// alone touches nothing but their elements, edits by others are found and
// undone.
//
// # What the ruleset looks like
//
// Everything is in one table of family inet. Verdict maps lead from the name of
// a device to the chains of its policy, which interfaces with equal groups
// share. What they send is judged at the prerouting hook (priority -150, after
// connection tracking and before destination NAT), what they get at the
// forward hook and, from this host, at the output hook (priority 0): two base
// chains, because accept ends only its own. A packet between two interfaces of
// the host passes egress of the one and ingress of the other. Other traffic of
// the host passes untouched.
//
// The devices must be routed to, as the taps and veths of a router are. On a
// bridge port the inet family sees the bridge instead.
//
// The members of a group and the entries of an IP set are plain hash sets, one
// per prefix length. Rules for CIDRs are one look-up of the address. Every rule
// has a chain with a counter, named after its number and commented with its
// group and id. The number of rules in the kernel depends on the policies and
// on the prefix lengths of their peers, not on members nor on interfaces that
// share a policy.
//
// # Connections
//
// A VPC is a conntrack zone, set at priority -450, before fragments are put
// together: its number plus one, or the zone that it has in the table already.
// The zone is per VPC, not per interface: the kernel tracks a packet once, and a
// reply enters by the other interface.
//
// The mark of a connection belongs to this package. Each half of it says, for
// one end, in which epoch of the policy its interface allowed the connection. A
// change that may take something away begins a new epoch, and the next packet
// of a connection is judged again: under sg.Revalidate by the packet that opened
// it, in whichever direction the next one goes. Under sg.Keep once allowed is
// allowed, under sg.Cut connections that are refused end at once. Connections
// of an interface that is deleted end too.
//
// A TCP connection begins with a SYN, whatever net.netfilter.nf_conntrack_tcp_loose
// says. Connections that were open before the first Apply are not adopted.
//
// # How a Backend changes the table
//
// A packet that is on its way through a chain when nftables commits goes on with
// the old rules, but looks up what sets and maps hold after it. So a Backend
// never edits what a packet can be in: what differs is laid beside under a new
// name (p1_from_x7), then one transaction leads packets there, and what they
// can not reach any more is deleted when none can be in it. Only elements of
// sets change in place: who joins does so before others leave. No packet that
// the old and the new policy allow is lost, and none that both refuse passes.
//
// If the process is killed, the old policy or the new one is in force, and
// perhaps something is left that no rule leads to. The next Apply deletes it.
//
// # Where it differs from enforce.Engine
//
//   - Windows and checksums are the kernel's business: net.netfilter has the
//     switches (nf_conntrack_tcp_be_liberal, nf_conntrack_checksum). A RST that
//     does not acknowledge a SYN ends the attempt (TCP-18), the sequence number
//     that an ICMP error quotes is not looked at (ICMP-15), a UDP checksum of zero
//     passes in IPv6, and bytes behind the length of UDP spoil its checksum.
//   - Of what the Engine refuses as hygiene, Linux leaves to the receiver: routing
//     headers of type 0, hop-by-hop options that do not come first, LAND where no
//     source guard is, 240.0.0.0/4 as a source, redirects of ICMPv6 that a rule
//     allows, and neighbour discovery with any hop limit, which arrives with less
//     than 255 then. It walks extension headers without a limit, but not beyond
//     an authentication header. What it forwards to no one, link-local traffic,
//     broadcasts and most martians, does not come to the rules.
//   - A connection that a change refused and a later one allows again goes on as
//     long as its entry lives; the Engine has forgotten it. What the kernel
//     remembers of it, such as that it was answered, counts.
//   - After a change, an ICMP error that this host itself sends about an answer
//     is dropped until the connection's own packets have been judged again.
//   - Fragments are put together before they are judged, within a VPC. Those of a
//     datagram that is never complete are never seen; an atomic fragment loses
//     its header, and a second one too.
//   - Counters tell packets that were judged by a rule, not those of established
//     connections.
//   - Where a source guard is off, an interface may send from any address; it
//     is let into the connections only of addresses that are routed to it or
//     its own.
//   - Addresses that no interface lists, those of networks behind a router, say,
//     are known by their route alone. ICMP errors about their connections may
//     come from any interface, and their connections outlive the interface that
//     they came by. sg.Interface.Allowed lists addresses.
//   - Without a source guard, segments from another's address are refused, but
//     connection tracking has seen them. With one it has not.
//   - A connection that was refused, and then opened again by a packet of the
//     other direction, is judged packet by packet after the next change.
//   - An ICMP message that is no query, no answer and no error, such as a router
//     advertisement, is invalid to the kernel, but for neighbour discovery; the
//     Engine leaves it to the rules. So is what the kernel finds wrong with
//     protocols that the Engine does not look into: GRE version 1, SCTP.
//   - Traffic between two VPCs on one host has two zones: answers do not find
//     the connection, and are judged as if they opened one.
//
// Needs nft 1.0 and Linux 5.10 or newer, and CAP_NET_ADMIN.
package nftables
