package nftables

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"golang.org/x/sys/unix"
)

// fingerprint reads what the table looks like, without the contents of what
// skip names.
func (k *kernel) fingerprint(skip func(name string) bool) (fingerprint, error) {
	in, err := k.inspect()
	if err != nil {
		return nil, err
	}
	p := newPrinter(k, skip)
	p.print["table"] = []byte{0}
	if in.dormant {
		p.print["table"] = []byte{1}
	}
	for name, b := range in.bases {
		p.print["chain "+name] = fmt.Appendf(nil, "%+v", b)
	}
	for _, f := range in.flowtables {
		p.print["flowtable "+f] = nil
	}
	p.names(in)
	if err := p.readRules(nil); err != nil {
		return nil, err
	}
	if err := k.dump(unix.NFT_MSG_GETSET, unix.NFTA_SET_TABLE, nil, func() { clear(p.kinds) }, p.kind); err != nil {
		return nil, err
	}
	return p.sum()
}

// fingerprintOf reads what some parts of the table look like: chains that are no
// base chains, sets, and objects.
func (k *kernel) fingerprintOf(in *installed, skip func(name string) bool) (fingerprint, error) {
	p := newPrinter(k, skip)
	p.names(in)
	for _, c := range in.chains {
		if err := p.readRules(attrText(unix.NFTA_RULE_CHAIN, c)); err != nil {
			return nil, err
		}
	}
	for _, s := range in.sets {
		if err := p.readSet(s.name); err != nil {
			return nil, err
		}
	}
	for _, list := range p.inside {
		for _, name := range list {
			if err := p.readSet(name); err != nil {
				return nil, err
			}
		}
	}
	return p.sum()
}

// printer collects what a fingerprint is made of.
type printer struct {
	k      *kernel
	skip   func(string) bool
	print  map[string][]byte   // by "chain x" and the like
	rules  map[string][]byte   // hashes of rules by chain
	inside map[string][]string // the anonymous sets of the rules of a chain
	kinds  map[string]setKind
}

// setKind is what a set can hold.
type setKind struct {
	anonymous bool
	attrs     []byte
}

func newPrinter(k *kernel, skip func(string) bool) *printer {
	return &printer{k: k, skip: skip, print: map[string][]byte{}, rules: map[string][]byte{}, inside: map[string][]string{}, kinds: map[string]setKind{}}
}

// names notes what there is.
func (p *printer) names(in *installed) {
	for _, c := range in.chains {
		p.print["chain "+c] = nil
	}
	for _, o := range in.objects {
		p.print["object "+o.name] = binary.NativeEndian.AppendUint32(nil, o.typ)
	}
}

// readRules reads the rules of the chain that an attribute names, of all if it
// is nil.
func (p *printer) readRules(of []byte) error {
	var chains []string
	again := func() {
		for _, c := range chains {
			delete(p.rules, c)
			delete(p.inside, c)
		}
		chains = chains[:0]
	}
	return p.k.dump(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, of, again, func(attrs iter.Seq2[int, []byte]) {
		chain, expressions := readRule(attrs)
		if p.skip(chain) {
			return
		}
		if p.rules[chain] == nil {
			chains = append(chains, chain)
		}
		sum := sha256.Sum256(expressions)
		p.rules[chain] = append(p.rules[chain], sum[:]...)
		for name := range lookedUp(expressions) {
			if isAnonymous(name) {
				p.inside[chain] = append(p.inside[chain], name)
			}
		}
	})
}

// readSet reads what a set can hold. One that is not there is none.
func (p *printer) readSet(name string) error {
	attrs := append(attrText(unix.NFTA_SET_TABLE, p.k.table), attrText(unix.NFTA_SET_NAME, name)...)
	err := p.k.get(unix.NFT_MSG_GETSET, attrs, p.kind)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func (p *printer) kind(attrs iter.Seq2[int, []byte]) {
	var name string
	var s setKind
	for t, v := range attrs {
		switch t {
		case unix.NFTA_SET_NAME:
			name = text(v)
		case unix.NFTA_SET_FLAGS:
			s.anonymous = binary.BigEndian.Uint32(v)&unix.NFT_SET_ANONYMOUS != 0
			fallthrough
		case unix.NFTA_SET_KEY_TYPE, unix.NFTA_SET_KEY_LEN, unix.NFTA_SET_DATA_TYPE, unix.NFTA_SET_TIMEOUT, unix.NFTA_SET_POLICY:
			s.attrs = append(append(s.attrs, byte(t)), v...)
		}
	}
	p.kinds[name] = s
}

// contents is what a set can hold, and what it does.
func (p *printer) contents(name string) ([]byte, error) {
	b := slices.Clone(p.kinds[name].attrs)
	n, sum, err := p.k.contents(name)
	if err != nil && !errors.Is(err, unix.ENOENT) { // it goes: a difference too
		return nil, err
	}
	return binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(b, uint64(n)), sum), nil
}

// sum reads the contents of the sets, and hashes it all. An anonymous set is
// part of the rule that it is in.
func (p *printer) sum() (fingerprint, error) {
	for chain, b := range p.rules {
		p.print["chain "+chain] = append(p.print["chain "+chain], b...)
	}
	for chain, list := range p.inside {
		for _, name := range list {
			b, err := p.contents(name)
			if err != nil {
				return nil, err
			}
			p.print["chain "+chain] = append(p.print["chain "+chain], b...)
		}
	}
	for name, s := range p.kinds {
		switch {
		case s.anonymous:
		case p.skip(name):
			p.print["set "+name] = s.attrs
		default:
			b, err := p.contents(name)
			if err != nil {
				return nil, err
			}
			p.print["set "+name] = b
		}
	}
	out := make(fingerprint, len(p.print))
	for name, b := range p.print {
		out[name] = sha256.Sum256(b)
	}
	return out, nil
}
