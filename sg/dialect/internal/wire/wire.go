// Package wire is what the JSON formats of several clouds share: a strict
// reader that tells every fault with its path, the checks that turn read rules
// into groups of the model, and the checks before groups are written.
//
// It reads what package jsontree does not: objects inside objects, null where
// a format gives it a meaning, and known fields that the model can not hold.
// It keeps a document as the bytes it came in and looks at one level at a
// time, so that a hostile one costs little more than its own size.
package wire

import (
	"fmt"
	"slices"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
)

const (
	// MaxBytes is the size limit of a document.
	MaxBytes = 64 << 20

	// MaxWarnings bounds how many warnings are listed one by one; the last one
	// then says how many more there are.
	MaxWarnings = 10_000

	maxDepth = 32 // limit of the nesting of a document
)

// Reader collects the faults and warnings of one document. It is not safe for
// concurrent use.
type Reader struct {
	errs     sg.Errors
	faults   int // all, also those beyond jsontree.MaxFaults, which errs leaves out
	warnings warnings
	ids      map[sg.GroupID]string // where each group id stands
}

// Parse reads a document that is one JSON object, in UTF-8. Its error, as that
// of Result, is sg.Errors.
func Parse(b []byte) (*Reader, *Object, error) {
	r := &Reader{ids: map[sg.GroupID]string{}}
	if len(b) > MaxBytes {
		r.errs.Add("", len(b), sg.ErrQuota, "a document has at most 64 MiB")
		return nil, nil, r.errs
	}
	raw, err := check(b)
	if err != nil {
		r.errs.Merge("", err)
		return nil, nil, r.errs
	}
	if k := kindOf(raw); k != object {
		r.errs.Add("", nil, sg.ErrInvalid, "want a JSON object, not "+article(k))
		return nil, nil, r.errs
	}
	return r, newObject(r, "", raw), nil
}

// fault notes a fault. What a document can cost is bounded: after
// jsontree.MaxFaults of them, the rest is not told.
func (r *Reader) fault(path string, value any, kind error, detail string) {
	r.faults++
	if len(r.errs) < jsontree.MaxFaults {
		r.errs.Add(path, value, kind, detail)
	}
}

// Warn lists what the model can not hold.
func (r *Reader) Warn(path, detail string) { r.warnings.add(path, detail) }

// Result is what Decode returns: the groups and the warnings, or every fault.
func (r *Reader) Result(groups []*sg.Group) ([]*sg.Group, []sg.Warning, error) {
	if r.faults == 0 {
		return groups, r.warnings.list(), nil
	}
	if r.faults > len(r.errs) {
		r.errs.Add("", nil, sg.ErrInvalid, fmt.Sprintf("not more than %d faults are told", len(r.errs)))
	}
	return nil, nil, r.errs.Err()
}

// warnings is a bounded list.
type warnings struct {
	told []sg.Warning
	more int
}

func (w *warnings) add(path, detail string) {
	if len(w.told) >= MaxWarnings {
		w.more++
		return
	}
	w.told = append(w.told, sg.Warning{Path: path, Detail: detail})
}

func (w *warnings) list() []sg.Warning {
	out := slices.Clone(w.told)
	if w.more > 0 {
		out = append(out, sg.Warning{Detail: fmt.Sprintf("%d more warnings of the same kinds are not listed", w.more)})
	}
	return out
}

// Faults returns how many faults are noted so far.
func (r *Reader) Faults() int { return r.faults }
