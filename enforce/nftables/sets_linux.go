package nftables

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"iter"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/secgroup/sg"
)

// perMessage is how many elements go into one message. The kernel reads no more
// than 64 KiB of a nested attribute, and says nothing of the rest.
const perMessage = 1000

// flushAt is how many bytes of elements of a set that nobody uses yet go into
// one transaction.
const flushAt = 1 << 20

// fill makes a set and puts elements into it, in as many transactions as it
// takes, and checks that all arrived.
func (k *kernel) fill(name string, f sg.Family, comment string, elements iter.Seq[netip.Addr]) error {
	return k.unheard(func() error { return k.fillUnheard(name, f, comment, elements) })
}

func (k *kernel) fillUnheard(name string, f sg.Family, comment string, elements iter.Seq[netip.Addr]) error {
	t := new(transaction)
	keyType, keyLen := uint32(keyTypeIPv4), uint32(4)
	if f == sg.IPv6 {
		keyType, keyLen = keyTypeIPv6, 16
	}
	comment = strings.Trim(quote(comment), `"`)
	data := append([]byte{udataSetKeyEndian, 4}, binary.NativeEndian.AppendUint32(nil, endianBig)...)
	data = append(append(append(data, udataSetComment, byte(len(comment)+1)), comment...), 0)
	t.add(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE,
		attrText(unix.NFTA_SET_TABLE, k.table), attrText(unix.NFTA_SET_NAME, name), attrUint32(unix.NFTA_SET_FLAGS, 0),
		attrUint32(unix.NFTA_SET_KEY_TYPE, keyType), attrUint32(unix.NFTA_SET_KEY_LEN, keyLen), attrUint32(unix.NFTA_SET_ID, 1),
		attr(unix.NFTA_SET_USERDATA, data))
	at := min(flushAt, k.room()/2)
	total := 0
	batch := make([]byte, 0, perMessage*24)
	send := func() error {
		t.elements(unix.NFT_MSG_NEWSETELEM, k.table, name, batch)
		batch = batch[:0]
		if len(t.b) < at {
			return nil
		}
		err := k.commit(t)
		*t = transaction{}
		return err
	}
	for a := range elements {
		batch = appendElement(batch, a)
		if total++; total%perMessage == 0 {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if err := send(); err != nil {
		return err
	}
	if err := k.commit(t); err != nil {
		return err
	}
	n, err := k.size(name)
	if err == nil && n != total {
		err = fmt.Errorf("%w: %s has %d of %d elements", ErrCount, name, n, total)
	}
	return err
}

// size is the number of elements of a set. Kernels that do not tell have to
// list them, which takes time with the square of it.
func (k *kernel) size(name string) (n int, err error) {
	n = -1
	attrs := append(attrText(unix.NFTA_SET_TABLE, k.table), attrText(unix.NFTA_SET_NAME, name)...)
	err = k.get(unix.NFT_MSG_GETSET, attrs, func(attrs iter.Seq2[int, []byte]) {
		for t, b := range attrs {
			if t == nftaSetCount && len(b) == 4 {
				n = int(binary.BigEndian.Uint32(b))
			}
		}
	})
	if err == nil && n < 0 {
		n, _, err = k.contents(name)
	}
	return n, err
}

// appendElement appends an element of a set of addresses.
func appendElement(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		key := a.As4()
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		head(b[len(b)-12:], 16, unix.NFTA_LIST_ELEM, unix.NFTA_SET_ELEM_KEY)
		return append(b, key[:]...)
	}
	key := a.As16()
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	head(b[len(b)-12:], 28, unix.NFTA_LIST_ELEM, unix.NFTA_SET_ELEM_KEY)
	return append(b, key[:]...)
}

// head writes the headers of an element, its key and the key's value.
func head(b []byte, size, outer, inner uint16) {
	binary.NativeEndian.PutUint16(b, size)
	binary.NativeEndian.PutUint16(b[2:], outer|unix.NLA_F_NESTED)
	binary.NativeEndian.PutUint16(b[4:], size-4)
	binary.NativeEndian.PutUint16(b[6:], inner|unix.NLA_F_NESTED)
	binary.NativeEndian.PutUint16(b[8:], size-8)
	binary.NativeEndian.PutUint16(b[10:], unix.NFTA_DATA_VALUE)
}

// elements adds a message about elements, unless there are none.
func (t *transaction) elements(msg int, table, set string, list []byte) {
	if len(list) == 0 {
		return
	}
	flags := uint16(0)
	if msg == unix.NFT_MSG_NEWSETELEM {
		flags = unix.NLM_F_CREATE
	}
	t.add(msg, flags, attrText(unix.NFTA_SET_ELEM_LIST_TABLE, table), attrText(unix.NFTA_SET_ELEM_LIST_SET, set),
		attr(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, list))
}

// contents counts the elements of a set and adds up a hash of each.
func (k *kernel) contents(name string) (n int, sum uint64, err error) {
	var h maphash.Hash
	h.SetSeed(k.seed)
	err = k.dump(unix.NFT_MSG_GETSETELEM, unix.NFTA_SET_ELEM_LIST_TABLE, attrText(unix.NFTA_SET_ELEM_LIST_SET, name), func() { n, sum = 0, 0 }, func(attrs iter.Seq2[int, []byte]) {
		for t, list := range attrs {
			if t != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			for _, element := range attributes(list) {
				h.Reset()
				for t, b := range attributes(element) {
					switch t {
					case unix.NFTA_SET_ELEM_KEY, unix.NFTA_SET_ELEM_DATA, unix.NFTA_SET_ELEM_FLAGS, nftaSetElemKeyEnd:
						_ = h.WriteByte(byte(t))
						_, _ = h.Write(b)
					}
				}
				n++
				sum += h.Sum64()
			}
		}
	})
	return n, sum, err
}

// hashOf is what contents adds for a key in a plain set.
func (k *kernel) hashOf(key []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(k.seed)
	_ = h.WriteByte(unix.NFTA_SET_ELEM_KEY)
	_, _ = h.Write(attr(unix.NFTA_DATA_VALUE, key))
	return h.Sum64()
}
