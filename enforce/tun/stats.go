package tun

import (
	"sync/atomic"

	"example.com/secgroup/compile/ir"
)

// Traffic counts packets, a super-packet as one, and the bytes of the packets,
// IP headers included.
type Traffic struct{ Packets, Bytes uint64 }

// Drops counts packets that went no further, by cause.
type Drops struct {
	Policy    uint64 // refused by a rule, or for want of one
	NoPolicy  uint64 // no policy yet, or it does not know the interface
	Malformed uint64 // headers that nobody can vouch for
	Checksum  uint64 // a wrong checksum: of the IPv4 header or, unless told otherwise, of the transport header
	Hygiene   uint64 // refused whatever the rules say: see enforce.Hygiene
	Spoofed   uint64 // an address that the interface may not use
	State     uint64 // fits no connection
	Fragment  uint64 // a fragment whose datagram was refused, or is not known
	TableFull uint64 // no room to track the connection
	Header    uint64 // a header of virtio that lies, or asks for something unknown
	TooBig    uint64 // above the MTU of the way out, and not to be fragmented; or above the caller's buffer
	Device    uint64 // the device did not take it; or a read failed, and what it was to return is lost
}

// Total is the sum.
func (d Drops) Total() uint64 {
	return d.Policy + d.NoPolicy + d.Malformed + d.Checksum + d.Hygiene + d.Spoofed + d.State + d.Fragment + d.TableFull + d.Header + d.TooBig + d.Device
}

func (d Drops) plus(e Drops) Drops {
	return Drops{
		Policy: d.Policy + e.Policy, NoPolicy: d.NoPolicy + e.NoPolicy, Malformed: d.Malformed + e.Malformed,
		Checksum: d.Checksum + e.Checksum, Hygiene: d.Hygiene + e.Hygiene,
		Spoofed: d.Spoofed + e.Spoofed, State: d.State + e.State, Fragment: d.Fragment + e.Fragment, TableFull: d.TableFull + e.TableFull,
		Header: d.Header + e.Header, TooBig: d.TooBig + e.TooBig, Device: d.Device + e.Device,
	}
}

// cause is why a packet went no further.
type cause uint8

const (
	causePolicy cause = iota
	causeNoPolicy
	causeMalformed
	causeChecksum
	causeHygiene
	causeSpoofed
	causeState
	causeFragment
	causeTableFull
	causeHeader
	causeTooBig
	causeDevice
	causeCount
)

// causeOf is the cause behind the reason of a refusal.
func causeOf(why ir.Reason) cause {
	switch why {
	case ir.ReasonNone, ir.ReasonNoPolicy, ir.ReasonUnknownInterface:
		return causeNoPolicy
	case ir.ReasonMalformed:
		return causeMalformed
	case ir.ReasonChecksum:
		return causeChecksum
	case ir.ReasonOffLink, ir.ReasonFragmentedDiscovery, ir.ReasonSourceRoute, ir.ReasonIPOptions, ir.ReasonRoutingHeader,
		ir.ReasonFragmentHeader, ir.ReasonMartian, ir.ReasonLand, ir.ReasonICMPRedirect, ir.ReasonICMPType:
		return causeHygiene
	case ir.ReasonSpoofed:
		return causeSpoofed
	case ir.ReasonInvalidState:
		return causeState
	case ir.ReasonFragment:
		return causeFragment
	case ir.ReasonTableFull:
		return causeTableFull
	}
	return causePolicy
}

// drops counts. The zero drops is ready to use.
type drops [causeCount]atomic.Uint64

func (d *drops) add(c cause) { d[c].Add(1) }

func (d *drops) addN(c cause, n int) { d[c].Add(uint64(n)) }

func (d *drops) load() Drops {
	return Drops{
		Policy: d[causePolicy].Load(), NoPolicy: d[causeNoPolicy].Load(), Malformed: d[causeMalformed].Load(),
		Checksum: d[causeChecksum].Load(), Hygiene: d[causeHygiene].Load(),
		Spoofed: d[causeSpoofed].Load(), State: d[causeState].Load(), Fragment: d[causeFragment].Load(), TableFull: d[causeTableFull].Load(),
		Header: d[causeHeader].Load(), TooBig: d[causeTooBig].Load(), Device: d[causeDevice].Load(),
	}
}

// traffic counts likewise.
type traffic struct{ packets, bytes atomic.Uint64 }

func (t *traffic) add(packets, bytes int) {
	t.packets.Add(uint64(packets))
	t.bytes.Add(uint64(bytes))
}

func (t *traffic) load() Traffic { return Traffic{Packets: t.packets.Load(), Bytes: t.bytes.Load()} }

func (t Traffic) plus(u Traffic) Traffic {
	return Traffic{Packets: t.Packets + u.Packets, Bytes: t.Bytes + u.Bytes}
}
