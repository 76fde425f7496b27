// Package wire is what the JSON formats of several clouds share, beyond
// package jsontree that reads them: the checks that turn read rules into groups
// of the model, the warnings of what it can not hold, and the checks before
// groups are written.
package wire

import (
	"fmt"
	"slices"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
)

// MaxWarnings bounds how many warnings are listed one by one; the last one
// then says how many more there are.
const MaxWarnings = 10_000

// Reader collects the faults and warnings of one document. It is not safe for
// concurrent use.
type Reader struct {
	faults   jsontree.Faults
	warnings warnings
	ids      map[sg.GroupID]string // where each group id stands
}

// Parse reads a document as jsontree.Parse does. Its error, as that of Result,
// is sg.Errors.
func Parse(b []byte) (*Reader, *Object, error) {
	r := &Reader{ids: map[sg.GroupID]string{}}
	o, err := jsontree.Parse(b, &r.faults)
	if err != nil {
		return nil, nil, err
	}
	return r, &Object{tree: o, r: r}, nil
}

// Warn lists what the model can not hold.
func (r *Reader) Warn(path, detail string) { r.warnings.add(path, detail) }

// Result is what Decode returns: the groups and the warnings, or every fault.
func (r *Reader) Result(groups []*sg.Group) ([]*sg.Group, []sg.Warning, error) {
	if err := r.faults.Err(); err != nil {
		return nil, nil, err
	}
	return groups, r.warnings.list(), nil
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
func (r *Reader) Faults() int { return r.faults.Count }
