package nftables

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"iter"

	"golang.org/x/sys/unix"
)

// Attributes that package unix lacks (include/uapi/linux/netfilter/nf_tables.h).
const (
	nftaTableUserdata  = 6  // Linux 5.10
	nftaChainUserdata  = 12 // Linux 5.10
	nftaObjUserdata    = 8  // Linux 5.10
	nftaSetElemKeyEnd  = 10 // Linux 5.6
	nftaSetCount       = 20 // of recent kernels
	nftaFlowtableTable = 1
	nftaFlowtableName  = 2

	nftDelFlowtable = 24 // NFT_MSG_DELFLOWTABLE

	udataComment      = 0 // NFTNL_UDATA_{TABLE,CHAIN,OBJ}_COMMENT of libnftnl
	udataSetKeyEndian = 0 // NFTNL_UDATA_SET_KEYBYTEORDER
	udataSetComment   = 7 // NFTNL_UDATA_SET_COMMENT
	keyTypeIPv4       = 7 // TYPE_IPADDR of nft
	keyTypeIPv6       = 8
	endianBig         = 2
)

// kernel is the netlink side: it reads back, and changes elements.
type kernel struct {
	table   string
	s       *socket
	w       *watcher // nil where it is refused
	seed    maphash.Seed
	commits uint32 // that it made
}

// dial opens a connection in the network namespace of the calling thread.
func dial(table string, seed maphash.Seed) (*kernel, error) {
	s, err := openSocket()
	if err != nil {
		return nil, err
	}
	k := &kernel{table: table, s: s, seed: seed}
	if k.w, err = watch(table); err != nil {
		k.w = nil // it does without
		return k, nil
	}
	if k.w.last, err = k.generation(); err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

func (k *kernel) close() error {
	if k.w == nil {
		return k.s.close()
	}
	return errors.Join(k.w.close(), k.s.close())
}

// room is how many bytes a transaction can have.
func (k *kernel) room() int { return k.s.limit }

func (k *kernel) commit(t *transaction) error {
	if t.n == 0 {
		return nil
	}
	err := k.s.commit(t)
	if err == nil {
		k.commits++
	}
	return err
}

// generation is the number of transactions that the kernel has seen, of any
// table.
func (k *kernel) generation() (gen uint32, err error) {
	err = k.s.ask(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETGEN, 0, unix.NFPROTO_UNSPEC, nil, func(_ byte, attrs []byte) {
		for t, b := range attributes(attrs) {
			if t == unix.NFTA_GEN_ID && len(b) == 4 {
				gen = binary.BigEndian.Uint32(b)
			}
		}
	})
	return gen, err
}

// get asks for one object.
func (k *kernel) get(msg int, attrs []byte, each func(iter.Seq2[int, []byte])) error {
	return k.s.ask(unix.NFNL_SUBSYS_NFTABLES, msg, 0, unix.NFPROTO_INET, attrs, func(_ byte, b []byte) { each(attributes(b)) })
}

// dump calls each for every object of the table. If the ruleset changes
// meanwhile it begins again, and calls again first.
func (k *kernel) dump(msg, tableAttr int, more []byte, again func(), each func(iter.Seq2[int, []byte])) error {
	const attempts = 20
	for i := 1; ; i++ {
		again()
		before := k.listen()
		err := k.s.ask(unix.NFNL_SUBSYS_NFTABLES, msg, unix.NLM_F_DUMP, unix.NFPROTO_INET, append(attrText(tableAttr, k.table), more...), func(family byte, b []byte) {
			if family != unix.NFPROTO_INET {
				return // the kernel may not filter
			}
			for t, v := range attributes(b) {
				if t == tableAttr && text(v) != k.table {
					return
				}
			}
			each(attributes(b))
		})
		if !errors.Is(err, errChanging) && !errors.Is(err, unix.EINTR) || i == attempts {
			return err
		}
		if _, ok := k.onlyOwn(before, 0); ok && errors.Is(err, errChanging) {
			return nil // other tables changed
		}
	}
}

func text(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }

// userdata returns a text among the data that nft keeps with an object.
func userdata(b []byte, typ byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if b[0] == typ {
			return text(b[2 : 2+int(b[1])])
		}
		b = b[2+int(b[1]):]
	}
	return ""
}

// discard deletes what in names: things that nothing else in the table refers
// to, so that it does not matter how many transactions it takes.
func (k *kernel) discard(in *installed) error {
	t := new(transaction)
	var failed error
	add := func(msg int, attrs ...[]byte) {
		t.add(msg, 0, attrs...)
		if len(t.b) > k.room()/2 && failed == nil {
			failed = k.commit(t)
			*t = transaction{}
		}
	}
	table := func(typ int) []byte { return attrText(typ, k.table) }
	sets := func(verdicts bool) {
		for _, s := range in.sets {
			if s.verdicts == verdicts {
				add(unix.NFT_MSG_DELSET, table(unix.NFTA_SET_TABLE), attrText(unix.NFTA_SET_NAME, s.name))
			}
		}
	}
	for _, c := range in.chains {
		add(unix.NFT_MSG_DELRULE, table(unix.NFTA_RULE_TABLE), attrText(unix.NFTA_RULE_CHAIN, c))
	}
	sets(true) // they name chains
	for _, c := range in.chains {
		add(unix.NFT_MSG_DELCHAIN, table(unix.NFTA_CHAIN_TABLE), attrText(unix.NFTA_CHAIN_NAME, c))
	}
	sets(false)
	for _, o := range in.objects {
		add(unix.NFT_MSG_DELOBJ, table(unix.NFTA_OBJ_TABLE), attrText(unix.NFTA_OBJ_NAME, o.name), attrUint32(unix.NFTA_OBJ_TYPE, o.typ))
	}
	for _, f := range in.flowtables {
		add(nftDelFlowtable, table(nftaFlowtableTable), attrText(nftaFlowtableName, f))
	}
	return errors.Join(failed, k.commit(t))
}

// remove deletes the table and everything in it.
func (k *kernel) remove() error {
	t := new(transaction)
	t.add(unix.NFT_MSG_DELTABLE, 0, attrText(unix.NFTA_TABLE_NAME, k.table))
	return k.commit(t)
}

// settle waits until no packet is under way that began before it was called.
// The system call is one of memory barriers; it waits for what the kernel calls
// a grace period. Where it is refused there is nothing to wait with.
func (k *kernel) settle() {
	const global = 1 // MEMBARRIER_CMD_GLOBAL
	_, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0)
}
