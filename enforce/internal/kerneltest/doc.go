// Package kerneltest holds tests that put the engine beside Linux: the same
// packets through both, and every difference named.
//
// It has no code of its own. The kernel is that of package netlabtest, or what
// it said of real captures.
//
// TestTCP walks connections of TCP. TestPolicies walks packets of all kinds
// (TCP with its windows, UDP, ICMP, SCTP, other protocols, errors that quote
// them, fragments, options and extension headers, broken packets, and all of
// them as of a flow that is almost the same) through random policies that
// change on the way. The kernel has the policy as a person would write it for
// nft, rule by rule, behind "ct state invalid drop" and "ct state
// established,related accept"; it does not come from the renderer of package
// nftables. Under a change of policy Linux lets connections go on, so the engine
// runs under sg.Keep, and under sg.Revalidate where a policy only grows.
//
// A difference must have a name in the table of differences, or it fails the
// test and is shown with the shortest walk that leads to it: packets go first,
// then the change of policy, then rules. testdata/differences.txt has such a
// walk for every name, and TestDifferences plays them. A name that begins with
// OPEN- is of a difference that should not be.
//
// The kernel's checksum tests are off (nf_conntrack_checksum), because the engine
// makes none unless it is told to.
//
// # The long run
//
//	go test ./enforce/internal/kerneltest -run TestPolicies -v -timeout 1h -rounds 500 -walks-per-policy 200 -seed 7
//
// sends about 2,950,000 packets under 1,000 policies and says every 50 rounds how
// far it is. A run with the same seed sends the same packets. The default run
// takes seconds.
//
//	go test ./enforce/internal/kerneltest -run TestPolicies -v -timeout 1h -rounds 100 -collect 10
//
// makes testdata/differences.txt anew: an example that is no difference any more
// goes, and the shortest walk to each difference comes, out of ten.
package kerneltest
