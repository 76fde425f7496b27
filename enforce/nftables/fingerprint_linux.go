package nftables

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

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
