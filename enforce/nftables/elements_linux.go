package nftables

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/secgroup/sg"
)

// appendDispatch appends an element of a set of dispatches, as the renderer
// writes it, in the form of the kernel. key says that the key is enough.
//
// nft could do it, but reads the whole table first.
func appendDispatch(b []byte, element string, interval, key bool) ([]byte, error) {
	left, verdict, isMap := strings.Cut(element, " : ")
	fields := strings.Split(left, " . ")
	var first, last []byte
	for _, field := range fields {
		f, l, err := fieldOf(field)
		if err != nil {
			return nil, fmt.Errorf("element %s: %w", element, err)
		}
		first, last = append(first, f...), append(last, l...)
	}
	parts := [][]byte{nest(unix.NFTA_SET_ELEM_KEY, attr(unix.NFTA_DATA_VALUE, first))}
	if interval && len(fields) == 1 {
		// Two elements: where it begins, and what is behind it, if anything is.
		b = append(b, nest(unix.NFTA_LIST_ELEM, parts...)...)
		if end, _ := netip.AddrFromSlice(last); end.Next().IsValid() {
			b = append(b, nest(unix.NFTA_LIST_ELEM, nest(unix.NFTA_SET_ELEM_KEY, attr(unix.NFTA_DATA_VALUE, end.Next().AsSlice())),
				attrUint32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END))...)
		}
		return b, nil
	}
	if interval {
		parts = append(parts, nest(nftaSetElemKeyEnd, attr(unix.NFTA_DATA_VALUE, last)))
	}
	if isMap && !key {
		chain, ok := strings.CutPrefix(verdict, "goto ")
		if !ok {
			return nil, fmt.Errorf("element %s: not a goto", element)
		}
		const nftGoto = -4 // NFT_GOTO
		code := int32(nftGoto)
		parts = append(parts, nest(unix.NFTA_SET_ELEM_DATA, nest(unix.NFTA_DATA_VERDICT,
			attrUint32(unix.NFTA_VERDICT_CODE, uint32(code)), attrText(unix.NFTA_VERDICT_CHAIN, chain))))
	}
	return append(b, nest(unix.NFTA_LIST_ELEM, parts...)...), nil
}

// fieldOf is a field of a key, padded to words: the first and the last value.
func fieldOf(s string) (first, last []byte, err error) {
	if name, ok := strings.CutPrefix(s, `"`); ok {
		b := make([]byte, unix.IFNAMSIZ)
		copy(b, strings.TrimSuffix(name, `"`))
		return b, b, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.AsSlice(), a.AsSlice(), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, nil, err
	}
	return p.Masked().Addr().AsSlice(), lastAddr(p).AsSlice(), nil
}

// turn leads packets to what is new, and takes members out of sets that stay,
// in one transaction.
func (k *kernel) turn(edits []dispatchEdit, leave []setEdit, e *epochEdit) error {
	t := new(transaction)
	for _, d := range edits {
		for _, part := range []struct {
			msg  int
			list []string
		}{{unix.NFT_MSG_DELSETELEM, d.remove}, {unix.NFT_MSG_NEWSETELEM, d.add}} {
			var batch []byte
			for i, element := range part.list {
				var err error
				if batch, err = appendDispatch(batch, element, d.interval, part.msg == unix.NFT_MSG_DELSETELEM); err != nil {
					return err
				}
				const most = 300 // of some 150 bytes each
				if (i+1)%most == 0 {
					t.elements(part.msg, k.table, d.name, batch)
					batch = batch[:0]
				}
			}
			t.elements(part.msg, k.table, d.name, batch)
		}
	}
	k.change(t, leave, e)
	return k.commit(t)
}

// edit changes members, and the epoch if e is not nil, in one transaction.
func (k *kernel) edit(edits []setEdit, e *epochEdit) error {
	t := new(transaction)
	k.change(t, edits, e)
	return k.commit(t)
}

func (k *kernel) change(t *transaction, edits []setEdit, e *epochEdit) {
	for _, s := range edits {
		for _, part := range []struct {
			msg  int
			list []netip.Addr
		}{{unix.NFT_MSG_NEWSETELEM, s.add}, {unix.NFT_MSG_DELSETELEM, s.remove}} {
			for len(part.list) > 0 {
				n := min(perMessage, len(part.list))
				batch := make([]byte, 0, n*elementSize(s.family))
				for _, a := range part.list[:n] {
					batch = appendElement(batch, a)
				}
				t.elements(part.msg, k.table, s.name, batch)
				part.list = part.list[n:]
			}
		}
	}
	if e != nil {
		k.moveEpoch(t, e)
	}
}

// elementSize is the bytes that an address has in a message.
func elementSize(f sg.Family) int {
	const heads = 12
	return heads + addrBits(f)/8
}
