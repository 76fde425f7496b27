package nftables

import (
	"encoding/binary"
	"errors"
	"iter"
	"strings"

	"golang.org/x/sys/unix"
)

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
