package nftables

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Messages and attributes of ctnetlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const (
	ctNew    = 0 // IPCTNL_MSG_CT_NEW
	ctGet    = 1 // IPCTNL_MSG_CT_GET
	ctDelete = 2 // IPCTNL_MSG_CT_DELETE

	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaMark       = 8
	ctaID         = 12
	ctaZone       = 18
	ctaMarkMask   = 21

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum      = 1
	ctaProtoDstPort  = 3
	ctaProtoICMPType = 5
	ctaProtoICMPCode = 6
	ctaProtoICMP6    = 8 // CTA_PROTO_ICMPV6_TYPE; the code follows
)

// entry is a connection and what tells it from others: its tuple and zone, and
// its identity, which another one of the same tuple has not.
type entry struct {
	connection
	family   byte
	identity []byte
	id       []byte
}

// connections calls f with every connection in the zones of VPCs. What f keeps
// it must copy.
func (k *kernel) connections(f func(*entry)) error {
	return k.s.ask(unix.NFNL_SUBSYS_CTNETLINK, ctGet, unix.NLM_F_DUMP, unix.AF_UNSPEC, nil, func(family byte, attrs []byte) {
		if e, ok := readConnection(family, attrs); ok && e.zone != 0 {
			f(e)
		}
	})
}

// sweep deletes the connections that forget wants gone, one by one by their
// identity: a flush by zone is a flush of all zones before Linux 6.8.
func (k *kernel) sweep(forget func(*connection) bool) (int, error) {
	var list []*entry
	err := k.connections(func(e *entry) {
		if forget(&e.connection) {
			list = append(list, e.kept())
		}
	})
	if err != nil {
		return 0, err
	}
	for _, e := range list {
		if err := k.tell(ctDelete, e, e.id); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

// remark gives connections the marks that f wants.
func (k *kernel) remark(f func(mark uint32) uint32) (int, error) {
	var list []*entry
	err := k.connections(func(e *entry) {
		if f(e.mark) != e.mark {
			list = append(list, e.kept())
		}
	})
	if err != nil {
		return 0, err
	}
	for _, e := range list {
		want := f(e.mark)
		// Half by half: the other may be written meanwhile.
		for _, half := range []uint32{halfMask, halfMask << dstShift} {
			if e.mark&half == want&half {
				continue
			}
			if err := k.tell(ctNew, e, append(attrUint32(ctaMark, want&half), attrUint32(ctaMarkMask, half)...)); err != nil {
				return 0, err
			}
		}
	}
	return len(list), nil
}

// tell asks for a change of one connection. It may have ended by itself.
func (k *kernel) tell(msg int, e *entry, more []byte) error {
	err := k.s.ask(unix.NFNL_SUBSYS_CTNETLINK, msg, unix.NLM_F_ACK, e.family, append(e.identity, more...), nil)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// epochsInUse are the epochs that marks speak of.
func (k *kernel) epochsInUse() (map[uint16]bool, error) {
	used := map[uint16]bool{}
	err := k.connections(func(e *entry) {
		for _, shift := range []int{0, dstShift} {
			if epoch := uint16(e.mark >> shift & epochMask); epoch != 0 {
				used[epoch] = true
			}
		}
	})
	return used, err
}

// kept is e with memory of its own.
func (e *entry) kept() *entry {
	e.identity = append([]byte(nil), e.identity...)
	e.id = append([]byte(nil), e.id...)
	return e
}

// readConnection reads an entry.
func readConnection(family byte, b []byte) (*entry, bool) {
	e := &entry{family: family}
	c := &e.connection
	for t, v := range attributes(b) {
		switch {
		case t == ctaTupleOrig:
			readTuple(v, &c.src, &c.dst, c)
			e.identity = append(e.identity, attr(ctaTupleOrig|unix.NLA_F_NESTED, v)...)
		case t == ctaTupleReply:
			readTuple(v, &c.replySrc, &c.replyDst, nil)
		case t == ctaMark && len(v) == 4:
			c.mark = binary.BigEndian.Uint32(v)
		case t == ctaZone && len(v) == 2:
			c.zone = binary.BigEndian.Uint16(v)
			e.identity = append(e.identity, attr(ctaZone, v)...)
		case t == ctaID:
			e.id = attr(ctaID, v)
		}
	}
	return e, c.src.IsValid() && c.replySrc.IsValid()
}

func readTuple(b []byte, src, dst *netip.Addr, c *connection) {
	for t, v := range attributes(b) {
		switch t {
		case ctaTupleIP:
			for t, a := range attributes(v) {
				addr, _ := netip.AddrFromSlice(a)
				switch t {
				case ctaIPv4Src, ctaIPv6Src:
					*src = addr
				case ctaIPv4Dst, ctaIPv6Dst:
					*dst = addr
				}
			}
		case ctaTupleProto:
			if c == nil {
				continue
			}
			for t, p := range attributes(v) {
				switch {
				case t == ctaProtoNum && len(p) == 1:
					c.proto = p[0]
				case t == ctaProtoDstPort && len(p) == 2:
					c.port = binary.BigEndian.Uint16(p)
				case (t == ctaProtoICMPType || t == ctaProtoICMP6) && len(p) == 1:
					c.icmpType = p[0]
				case (t == ctaProtoICMPCode || t == ctaProtoICMP6+1) && len(p) == 1:
					c.icmpCode = p[0]
				}
			}
		}
	}
}
