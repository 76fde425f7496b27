package nftables

import (
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

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
		out = append(out, readObject(attrs))
	})
	return out, err
}

// object reads one of them.
func (k *kernel) object(is namedObject) (out namedObject, err error) {
	attrs := slices.Concat(attrText(unix.NFTA_OBJ_TABLE, k.table), attrText(unix.NFTA_OBJ_NAME, is.name), attrUint32(unix.NFTA_OBJ_TYPE, is.typ))
	err = k.get(unix.NFT_MSG_GETOBJ, attrs, func(attrs iter.Seq2[int, []byte]) { out = readObject(attrs) })
	return out, err
}

func readObject(attrs iter.Seq2[int, []byte]) (o namedObject) {
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
	return o
}

// lookups returns the sets that the rules of a chain look into.
func (k *kernel) lookups(chain string) (out []string, err error) {
	err = k.dump(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, attrText(unix.NFTA_RULE_CHAIN, chain), func() { out = nil }, func(attrs iter.Seq2[int, []byte]) {
		if name, expressions := readRule(attrs); name == chain {
			out = slices.AppendSeq(out, lookedUp(expressions))
		}
	})
	return out, err
}

// lookedUp yields the sets that a rule with such expressions looks into.
func lookedUp(expressions []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name, data := range expressionsOf(expressions) {
			if name != "lookup" {
				continue
			}
			for t, b := range attributes(data) {
				if t == unix.NFTA_LOOKUP_SET && !yield(text(b)) {
					return
				}
			}
		}
	}
}

// isAnonymous reports whether nft made the name of a set, for one that a rule
// contains.
func isAnonymous(name string) bool { return strings.HasPrefix(name, "__") }

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
