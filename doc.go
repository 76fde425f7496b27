// Package secgroup is cloud security groups as an embeddable library: the
// model and its validation, a compiler that turns a policy into an immutable
// matcher, a userspace connection table, an engine that decides packets and
// says which rule decided and why, and backends for the Linux kernel and for
// TUN devices.
//
// This package is empty; it maps the others.
//
//	sg                    the domain model: groups, rules, peers, interfaces, profiles, errors
//	sg/policy             whole policies: Snapshot, Change, the transactional Store, Watch
//	sg/policy/document    the native policy document (JSON)
//	sg/dialect            profiles and wire formats by name; one package per cloud below it
//	sg/lint               findings: what the clouds advise against
//	sg/cow                the copy-on-write map under snapshots and IP sets
//	ipset                 named collections of prefixes
//	compile               Compiler, Matcher, Explain
//	compile/ir            the lowered program; its Eval is what a policy means
//	conntrack             the connection table: TCP, UDP, ICMP, fragments
//	conntrack/packet      the zero-allocation decoder
//	enforce               Engine and Port: the verdict step by step; events, counters;
//	                      Reconciler: from a store to backends
//	enforce/nftables      the kernel backend: renders and applies nftables rulesets
//	enforce/tun           TUN devices, filters in front of them, a gateway between two
//	enforce/enforcetest   the conformance suite for backends, packet builders
//	examples              runnable programs
//	bench                 workloads, benchmarks, the guard of the import graph
//
// # Two towers
//
// Policy (sg, ipset, sg/policy, compile) and packets (conntrack) know nothing
// of each other; they meet in enforce. A packet is decoded and related to the
// connections of its interface. What belongs to one passes, and the
// connection's mark names the rule that opened it; what is new is asked of the
// matcher, and tracked if a stateful rule allows it.
//
// # Vocabulary
//
// Terms are netfilter's and the clouds'. Ingress is towards the protected
// interface, egress from it. The remote end of a rule is its peer: a CIDR, a
// group (the addresses of its member interfaces) or an IP set. A connection has
// an original and a reply direction, lives in a zone (one per interface), and
// carries a mark (the number of the rule that it stands on; in the kernel the
// zone is per VPC and the mark says who allowed the connection, see
// enforce/nftables). A packet is new,
// established, related (an ICMP error about a connection) or invalid. An epoch
// is a stretch of time in which nothing that was accepted came to be refused.
//
// # Units
//
// Ports are inclusive ranges of destination ports; sizes are bytes of the IP
// packet, headers included; times on the packet path are nanoseconds on a
// monotonic clock that the caller owns.
//
// # Sources
//
// Meanings follow the documents of the clouds (see each package below
// sg/dialect), states and timeouts Linux's nf_conntrack, headers the RFCs named
// where they are read: 791, 792, 768, 9293, 8200, 4443, 5722, 6946, 7112.
package secgroup
