// Package hostiletest holds the packet cases of the project's list of hostile
// input as data: policies, packets, and the verdict on each, by the ids of the
// list (ICMP-02, FRAG-05 …). Whatever judges packets can be put to them: the
// engine packet by packet and in batches, the TUN path, the kernel.
//
// It is for tests only.
package hostiletest
