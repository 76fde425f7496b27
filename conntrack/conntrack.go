// Package conntrack is a userspace connection tracking table.
//
// Terms are netfilter's: zone, mark, original and reply direction, and the
// states new, established, related and invalid. [Table.Track] says how a packet
// relates to the connections of the table and moves them on; it never creates
// one. [Table.Commit] creates a connection, once the caller's rules allowed the
// packet that starts it: a refused packet leaves no trace.
//
// The table reads no clock, starts no goroutine and knows no rules. The caller
// passes the time, says which [Side] sent the packet, and calls [Table.Sweep]
// now and then.
//
// # Caveats
//
// A segment of TCP must fit the windows of its connection as well as its state:
// see [Options].TCPLiberal. Who sees all of a connection's segments (someone on
// its path) can still forge one that fits.
//
// A connection is what its addresses, ports, protocol and zone say it is.
// Payload is never looked at, so no application protocol (FTP, SIP …) opens a
// second connection.
package conntrack

import (
	"errors"

	"example.com/secgroup/conntrack/packet"
)

// Tuple is a connection's 5-tuple.
type Tuple = packet.Tuple

// Time is nanoseconds on the caller's monotonic clock. Where its zero lies does
// not matter, only differences do.
//
// A clock that steps back is harmless: nothing expires by it, and time stands
// still for at most a minute, after which (or at once, if it stepped back by
// more) the table goes on from the new reading. A clock that leaps forward
// looks like a quiet period, and idle connections expire as after one; of a
// leap longer than the longest timeout that much is taken. A leap of more than
// a year, longer than a table may go without [Table.Sweep], is a step: nothing
// expires by it, and the table goes on from the new reading.
type Time int64

// Zone keeps equal tuples of different networks apart: packets of one zone
// never match a connection of another.
type Zone uint32

// Mark is the caller's tag on a connection (ct mark).
type Mark uint32

// Side is who sent a packet, seen from the protected interface. The table
// needs it because addresses alone do not say it: a packet with a connection's
// addresses that comes from the wrong side does not belong to it.
type Side uint8

const (
	Remote Side = iota // the network: the packet enters the protected interface
	Local              // the protected workload: the packet leaves it
)

// String returns "remote" or "local".
func (s Side) String() string {
	if s == Remote {
		return "remote"
	}
	return "local"
}

// other returns the opposite side.
func (s Side) other() Side { return s ^ 1 }

// State is a packet's relation to the table. The zero value is Invalid.
type State uint8

const (
	Invalid     State = iota // belongs to no legal connection and may start none
	New                      // may start one
	Established              // belongs to a tracked one, either direction
	Related                  // ICMP error about a tracked one
)

// String returns the state as netfilter spells it, in lower case.
func (s State) String() string {
	switch s {
	case New:
		return "new"
	case Established:
		return "established"
	case Related:
		return "related"
	}
	return "invalid"
}

// Dir is a packet's direction within its connection.
type Dir uint8

const (
	Original Dir = iota // as the packet that started it
	Reply               // the other way
)

// String returns "original" or "reply".
func (d Dir) String() string {
	if d == Original {
		return "original"
	}
	return "reply"
}

// Conn is what the table knows about a packet. It is a value; it does not keep
// the connection alive, and a later connection in the same slot is not mistaken
// for it (unless 8 million others had the slot in between).
type Conn struct {
	State  State
	Dir    Dir    // of this packet; for Related, the way the error travels
	Opener Side   // who sent the connection's first packet
	Mark   Mark   // given at Commit or Remark; 0 if State is New or Invalid
	Epoch  uint32 // given at Commit or Remark; 0 if State is New or Invalid

	ref ref
}

// ref names an entry. The zero ref names none: no generation is 0.
type ref struct{ shard, id, gen uint32 }

// Tracked reports whether c stands for an entry of the table. It is false for
// an Invalid packet, for a New one before its Commit, for one that Commit does
// not track (neighbour discovery, say), and for a trailing fragment.
func (c Conn) Tracked() bool { return c.ref.gen != 0 }

// ErrFull is returned by Commit when the table, the zone or the class of the
// protocol is at its limit and no entry may be evicted.
var ErrFull = errors.New("conntrack: table full")
