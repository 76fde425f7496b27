package nftables

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
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

// inspect reads what is there.
func (k *kernel) inspect() (*installed, error) {
	in := &installed{bases: map[string]baseChain{}}
	err := k.get(unix.NFT_MSG_GETTABLE, attrText(unix.NFTA_TABLE_NAME, k.table), func(attrs iter.Seq2[int, []byte]) {
		in.exists = true
		for t, b := range attrs {
			switch t {
			case nftaTableUserdata:
				in.ours = userdata(b, udataComment) == marker
			case unix.NFTA_TABLE_FLAGS:
				in.dormant = binary.BigEndian.Uint32(b)&unix.NFT_TABLE_F_DORMANT != 0
			}
		}
	})
	if errors.Is(err, unix.ENOENT) {
		return in, nil
	} else if err != nil || !in.ours {
		return in, err
	}
	if err := k.inspectChains(in); err != nil {
		return nil, err
	}
	if err := k.inspectSets(in); err != nil {
		return nil, err
	}
	if in.objects, err = k.objects(); err != nil {
		return nil, err
	}
	err = k.dump(unix.NFT_MSG_GETFLOWTABLE, nftaFlowtableTable, nil, func() { in.flowtables = nil }, func(attrs iter.Seq2[int, []byte]) {
		for t, b := range attrs {
			if t == nftaFlowtableName {
				in.flowtables = append(in.flowtables, text(b))
			}
		}
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		err = nil // a kernel without them
	}
	return in, err
}

func (k *kernel) inspectChains(in *installed) error {
	again := func() {
		in.chains = nil
		clear(in.bases)
	}
	return k.dump(unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_TABLE, nil, again, func(attrs iter.Seq2[int, []byte]) {
		var name string
		var base baseChain
		isBase := false
		for t, b := range attrs {
			switch t {
			case unix.NFTA_CHAIN_NAME:
				name = text(b)
			case unix.NFTA_CHAIN_TYPE:
				base.typ = text(b)
			case unix.NFTA_CHAIN_POLICY:
				base.accept = binary.BigEndian.Uint32(b) == 1 // NF_ACCEPT
			case unix.NFTA_CHAIN_HOOK:
				isBase = true
				for t, b := range attributes(b) {
					switch t {
					case unix.NFTA_HOOK_HOOKNUM:
						base.hook = hookName(binary.BigEndian.Uint32(b))
					case unix.NFTA_HOOK_PRIORITY:
						base.priority = int32(binary.BigEndian.Uint32(b))
					}
				}
			}
		}
		if isBase {
			in.bases[name] = base
		} else {
			in.chains = append(in.chains, name)
		}
	})
}

func hookName(n uint32) string {
	if names := []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}; int(n) < len(names) {
		return names[n]
	}
	return ""
}

func (k *kernel) inspectSets(in *installed) error {
	return k.dump(unix.NFT_MSG_GETSET, unix.NFTA_SET_TABLE, nil, func() { in.sets = nil }, func(attrs iter.Seq2[int, []byte]) {
		var flags uint32
		var name string
		for t, b := range attrs {
			switch t {
			case unix.NFTA_SET_NAME:
				name = text(b)
			case unix.NFTA_SET_FLAGS:
				flags = binary.BigEndian.Uint32(b)
			}
		}
		if flags&unix.NFT_SET_ANONYMOUS == 0 {
			in.sets = append(in.sets, namedSet{name, flags&unix.NFT_SET_MAP != 0})
		}
	})
}

// objects reads the stateful objects: counters, and what else there is.
func (k *kernel) objects() (out []namedObject, err error) {
	err = k.dump(unix.NFT_MSG_GETOBJ, unix.NFTA_OBJ_TABLE, nil, func() { out = nil }, func(attrs iter.Seq2[int, []byte]) {
		var o namedObject
		for t, b := range attrs {
			switch t {
			case unix.NFTA_OBJ_NAME:
				o.name = text(b)
			case unix.NFTA_OBJ_TYPE:
				o.typ = binary.BigEndian.Uint32(b)
			case nftaObjUserdata:
				o.comment = userdata(b, udataComment)
			case unix.NFTA_OBJ_DATA:
				for t, b := range attributes(b) {
					switch {
					case t == unix.NFTA_COUNTER_BYTES && len(b) == 8:
						o.count.bytes = binary.BigEndian.Uint64(b)
					case t == unix.NFTA_COUNTER_PACKETS && len(b) == 8:
						o.count.packets = binary.BigEndian.Uint64(b)
					}
				}
			}
		}
		if o.typ != unix.NFT_OBJECT_COUNTER {
			o.count = count{}
		}
		out = append(out, o)
	})
	return out, err
}

// lookups returns the sets that the rules of a chain look into.
func (k *kernel) lookups(chain string) (out []string, err error) {
	err = k.dump(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, attrText(unix.NFTA_RULE_CHAIN, chain), func() { out = nil }, func(attrs iter.Seq2[int, []byte]) {
		if name, expressions := readRule(attrs); name == chain {
			for name, data := range expressionsOf(expressions) {
				for t, b := range attributes(data) {
					if name == "lookup" && t == unix.NFTA_LOOKUP_SET {
						out = append(out, text(b))
					}
				}
			}
		}
	})
	return out, err
}

func readRule(attrs iter.Seq2[int, []byte]) (chain string, expressions []byte) {
	for t, b := range attrs {
		switch t {
		case unix.NFTA_RULE_CHAIN:
			chain = text(b)
		case unix.NFTA_RULE_EXPRESSIONS:
			expressions = b
		}
	}
	return chain, expressions
}

// expressionsOf yields the names and the data of a rule's expressions.
func expressionsOf(b []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, e := range attributes(b) {
			var name string
			var data []byte
			for t, v := range attributes(e) {
				switch t {
				case unix.NFTA_EXPR_NAME:
					name = text(v)
				case unix.NFTA_EXPR_DATA:
					data = v
				}
			}
			if !yield(name, data) {
				return
			}
		}
	}
}

// fill makes a set and puts elements into it, in as many transactions as it
// takes, and checks that all arrived.
func (k *kernel) fill(name string, f sg.Family, comment string, elements iter.Seq[netip.Addr]) error {
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

// moveEpoch makes another epoch the current one. No rule of it has a verdict:
// of those the kernel would walk the whole table again.
func (k *kernel) moveEpoch(t *transaction, e *epochEdit) {
	if e.names.set != "" {
		for _, part := range []struct {
			msg   int
			epoch uint16
		}{{unix.NFT_MSG_DELSETELEM, e.from}, {unix.NFT_MSG_NEWSETELEM, e.to}} {
			var list []byte
			for _, v := range currentMarks(part.epoch) {
				list = append(list, nest(unix.NFTA_LIST_ELEM, nest(unix.NFTA_SET_ELEM_KEY, attr(unix.NFTA_DATA_VALUE, word(v))))...)
			}
			t.elements(part.msg, k.table, e.names.set, list)
		}
	}
	for i, mark := range epochMarks(e.to) {
		chain := attrText(unix.NFTA_RULE_CHAIN, e.names.chains[i])
		t.add(unix.NFT_MSG_DELRULE, 0, attrText(unix.NFTA_RULE_TABLE, k.table), chain)
		t.add(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, attrText(unix.NFTA_RULE_TABLE, k.table), chain, markRule(mark))
	}
}

func word(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// markRule is "ct mark set ct mark & keep | set", as the kernel wants it.
func markRule(m epochMark) []byte {
	const register = 1
	expression := func(name string, attrs ...[]byte) []byte {
		return nest(unix.NFTA_LIST_ELEM, attrText(unix.NFTA_EXPR_NAME, name), nest(unix.NFTA_EXPR_DATA, attrs...))
	}
	return nest(unix.NFTA_RULE_EXPRESSIONS,
		expression("ct", attrUint32(unix.NFTA_CT_KEY, unix.NFT_CT_MARK), attrUint32(unix.NFTA_CT_DREG, register)),
		expression("bitwise", attrUint32(unix.NFTA_BITWISE_SREG, register), attrUint32(unix.NFTA_BITWISE_DREG, register), attrUint32(unix.NFTA_BITWISE_LEN, 4),
			nest(unix.NFTA_BITWISE_MASK, attr(unix.NFTA_DATA_VALUE, word(m.keep&^m.set))), nest(unix.NFTA_BITWISE_XOR, attr(unix.NFTA_DATA_VALUE, word(m.set)))),
		expression("ct", attrUint32(unix.NFTA_CT_KEY, unix.NFT_CT_MARK), attrUint32(unix.NFTA_CT_SREG, register)))
}

// readMark reads what a chain of an epoch does to the mark; ok is false if it
// does anything else.
func (k *kernel) readMark(chain string) (m epochMark, ok bool, err error) {
	rules := 0
	again := func() { rules, ok, m = 0, true, epochMark{} }
	err = k.dump(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, attrText(unix.NFTA_RULE_CHAIN, chain), again, func(attrs iter.Seq2[int, []byte]) {
		name, expressions := readRule(attrs)
		if name != chain {
			return
		}
		rules++
		var kinds []string
		for kind, data := range expressionsOf(expressions) {
			kinds = append(kinds, kind)
			for t, b := range attributes(data) {
				for _, v := range attributes(b) {
					switch {
					case kind == "bitwise" && t == unix.NFTA_BITWISE_MASK && len(v) == 4:
						m.keep = binary.NativeEndian.Uint32(v)
					case kind == "bitwise" && t == unix.NFTA_BITWISE_XOR && len(v) == 4:
						m.set = binary.NativeEndian.Uint32(v)
					}
				}
				if kind == "ct" && t == unix.NFTA_CT_KEY && (len(b) != 4 || binary.BigEndian.Uint32(b) != unix.NFT_CT_MARK) {
					ok = false
				}
			}
		}
		ok = ok && strings.Join(kinds, " ") == "ct bitwise ct"
	})
	if errors.Is(err, unix.ENOENT) {
		return m, false, nil
	}
	return m, ok && rules == 1, err
}

// epochInForce reports whether everything that an epoch consists of is so.
func (k *kernel) epochInForce(names *epochNames, epoch uint16) (bool, error) {
	for i, want := range epochMarks(epoch) {
		got, ok, err := k.readMark(names.chains[i])
		want.keep &^= want.set
		if err != nil || !ok || got != want {
			return false, err
		}
	}
	if names.set == "" {
		return true, nil
	}
	n, sum, err := k.contents(names.set)
	for _, v := range currentMarks(epoch) {
		sum -= k.hashOf(word(v))
		n--
	}
	return n == 0 && sum == 0, err
}

// fingerprint reads what the table looks like, without the contents of what
// skip names.
func (k *kernel) fingerprint(skip func(name string) bool) (fingerprint, error) {
	in, err := k.inspect()
	if err != nil {
		return nil, err
	}
	hashes := map[string][]byte{"table": {0}} // "chain x" and what is in it
	if in.dormant {
		hashes["table"] = []byte{1}
	}
	for _, c := range in.chains {
		hashes["chain "+c] = nil
	}
	for name, b := range in.bases {
		hashes["chain "+name] = fmt.Appendf(nil, "%+v", b)
	}
	for _, o := range in.objects {
		hashes["object "+o.name] = binary.NativeEndian.AppendUint32(nil, o.typ)
	}
	for _, f := range in.flowtables {
		hashes["flowtable "+f] = nil
	}
	rules := map[string][]byte{}
	err = k.dump(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, nil, func() { clear(rules) }, func(attrs iter.Seq2[int, []byte]) {
		if chain, expressions := readRule(attrs); !skip(chain) {
			sum := sha256.Sum256(expressions)
			rules[chain] = append(rules[chain], sum[:]...)
		}
	})
	if err != nil {
		return nil, err
	}
	for chain, b := range rules {
		hashes["chain "+chain] = append(hashes["chain "+chain], b...)
	}
	if err := k.fingerprintSets(hashes, skip); err != nil {
		return nil, err
	}
	print := make(fingerprint, len(hashes))
	for name, b := range hashes {
		print[name] = sha256.Sum256(b)
	}
	return print, nil
}

// fingerprintSets adds the sets: what they can hold, and what they do.
func (k *kernel) fingerprintSets(hashes map[string][]byte, skip func(string) bool) error {
	kinds := map[string][]byte{}
	anonymous := map[string]bool{}
	again := func() {
		clear(kinds)
		clear(anonymous)
	}
	err := k.dump(unix.NFT_MSG_GETSET, unix.NFTA_SET_TABLE, nil, again, func(attrs iter.Seq2[int, []byte]) {
		var name string
		var b []byte
		for t, v := range attrs {
			switch t {
			case unix.NFTA_SET_NAME:
				name = text(v)
			case unix.NFTA_SET_FLAGS:
				anonymous[name] = binary.BigEndian.Uint32(v)&unix.NFT_SET_ANONYMOUS != 0
				fallthrough
			case unix.NFTA_SET_KEY_TYPE, unix.NFTA_SET_KEY_LEN, unix.NFTA_SET_DATA_TYPE, unix.NFTA_SET_TIMEOUT, unix.NFTA_SET_POLICY:
				b = append(append(b, byte(t)), v...)
			}
		}
		kinds[name] = b
	})
	if err != nil {
		return err
	}
	for name, b := range kinds {
		if !skip(name) {
			n, sum, err := k.contents(name)
			if err != nil && !errors.Is(err, unix.ENOENT) { // it goes: a difference too
				return err
			}
			b = binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(b, uint64(n)), sum)
		}
		hashes["set "+name] = b
	}
	return nil
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

// emptyChain reports whether there is a chain without rules: none of this
// package's is, so somebody flushed it.
func (k *kernel) emptyChain(in *installed) (bool, error) {
	full := map[string]bool{}
	err := k.dump(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, nil, func() { clear(full) }, func(attrs iter.Seq2[int, []byte]) {
		chain, _ := readRule(attrs)
		full[chain] = true
	})
	return len(full) < len(in.chains)+len(in.bases), err
}

// ruleComment returns the comment of the last rule of a chain that has one.
func (k *kernel) ruleComment(chain string) (comment string, err error) {
	err = k.dump(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, attrText(unix.NFTA_RULE_CHAIN, chain), func() { comment = "" }, func(attrs iter.Seq2[int, []byte]) {
		if name, _ := readRule(attrs); name != chain {
			return
		}
		for t, b := range attrs {
			if t == unix.NFTA_RULE_USERDATA {
				comment = userdata(b, udataComment)
			}
		}
	})
	return comment, err
}
