package conntrack

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"example.com/secgroup/conntrack/packet"
)

// key is the identity of a connection. It is oriented by side, not by who came
// first, so both directions have the same key and one entry serves them, while
// a packet from the wrong side has another. It holds no pointer and no padding.
type key struct {
	remote, local [16]byte
	zone          Zone
	rport, lport  uint16
	proto, family uint8

	// ICMP queries only: one connection answers one kind of query (ICMP-11,
	// ICMP-16) of one code (ICMP-19), asked by one side (ICMP-10).
	query uint8 // low 7 bits of the type, shifted left; bit 0 is the Side that asked
	code  uint8
}

// queryType returns the ICMP type of the query, 0 for other protocols.
func (k *key) queryType() uint8 {
	switch k.proto {
	case packet.ProtoICMP:
		return k.query >> 1
	case packet.ProtoICMPv6:
		return k.query>>1 | 0x80
	}
	return 0
}

// class is what a packet may be to the table, before the table is asked.
type class uint8

const (
	classInvalid class = iota // belongs nowhere
	classOpener               // may belong to a connection and may start one
	classAnswer               // may only belong to a connection
	classError                // may only be related to one
	classOther                // never belongs to a connection
)

// set makes k the key of a packet that side from sent and returns its class.
// k is set only for openers and answers.
func (k *key) set(z Zone, from Side, t *Tuple, icmpType, icmpCode uint8) class {
	if t.Family != 4 && t.Family != 6 {
		return classInvalid
	}
	c := classOpener
	k.zone, k.proto, k.family, k.query, k.code = z, t.Proto, t.Family, 0, 0
	if from == Remote {
		k.remote, k.local, k.rport, k.lport = t.Src, t.Dst, t.SrcPort, t.DstPort
	} else {
		k.remote, k.local, k.rport, k.lport = t.Dst, t.Src, t.DstPort, t.SrcPort
	}
	if t.Proto == packet.ProtoICMP || t.Proto == packet.ProtoICMPv6 {
		c = k.setQuery(from, icmpType, icmpCode)
	}
	return c
}

// secret keys the hash of one table, so that nobody outside can aim at one
// bucket (RES-05).
type secret [6]uint64

const hashOdd = 0x9e3779b97f4a7c15

func newSecret() (s secret) {
	for i := range s {
		s[i] = rand.Uint64() // the runtime's generator, seeded by the system
	}
	return s
}

// hash folds k by 64×64→128-bit multiplications of words masked with the
// secret: the top bits choose the shard, those below the bucket, the low 16 are
// the tag. A packet's head has the same: see Lane.read.
func (s *secret) hash(k *key) uint64 {
	le := binary.LittleEndian
	ends := uint64(k.zone)<<32 | uint64(k.rport)<<16 | uint64(k.lport)
	kind := uint64(k.proto) | uint64(k.family)<<8 | uint64(k.query)<<16 | uint64(k.code)<<24
	return s.words(le.Uint64(k.remote[:8]), le.Uint64(k.remote[8:]), le.Uint64(k.local[:8]), le.Uint64(k.local[8:]), ends, kind)
}

// mapped is the lower half of a word of an IPv4-mapped address, as it lies in
// memory; the address is the upper one, and the word before it is zero.
const mapped = 0xffff0000

// words is hash of the halves of the addresses, and what else is in a key.
func (s *secret) words(rh, rl, lh, ll, ends, kind uint64) uint64 {
	if rh|lh == 0 && uint32(rl) == mapped && uint32(ll) == mapped {
		return s.hash4(rl>>32<<32|ll>>32, ends, kind)
	}
	return s.hash6(rh, rl, lh, ll, ends, kind)
}

// hash4 is words of IPv4-mapped addresses, of which addrs has the rest, remote
// first.
func (s *secret) hash4(addrs, ends, kind uint64) uint64 {
	// One more round, for the first one alone is linear in the ports.
	return fold(fold(addrs^s[0], ends^s[1])^kind^s[2], hashOdd)
}

// hash6 is words of other addresses.
func (s *secret) hash6(rh, rl, lh, ll, ends, kind uint64) uint64 {
	a, b := fold(rh^s[0], rl^s[1]), fold(lh^s[2], ll^s[3])
	return fold(fold(a^ends^s[4], b^kind^s[5])^s[0], hashOdd)
}

// local folds the local end of k, for a table of its own.
func (s *secret) local(k *key) uint64 {
	le := binary.LittleEndian
	return fold(le.Uint64(k.local[:8])^s[1]^uint64(k.zone), le.Uint64(k.local[8:])^s[0])
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// quoteKey makes k the key of the packet that the ICMP error p from side from
// quotes, and reports whether p may be about a connection at all: the quoted
// packet must have travelled the other way, and the error must go to whoever
// sent it (ICMP-02).
func (k *key) quoteKey(z Zone, from Side, p *packet.Packet) bool {
	q := &p.Inner
	if q.Tuple.Family != p.Tuple.Family || q.Tuple.Src != p.Tuple.Dst {
		return false
	}
	c := k.set(z, from.other(), &q.Tuple, q.ICMPType, q.ICMPCode)
	return c == classOpener || c == classAnswer
}
