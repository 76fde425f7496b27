package wire

import (
	"fmt"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
)

// tree is embedded under a name that leaves Object to a method.
type tree = jsontree.Object

// Object reads the fields of one JSON object as jsontree.Object does, and what
// the formats have in common.
type Object struct {
	*tree
	r     *Reader
	quiet []string // fields whose absence or fault is told already
}

// Object returns an object field; nil if it is absent or something else.
func (o *Object) Object(key string) *Object {
	if in := o.tree.Object(key); in != nil {
		return &Object{tree: in, r: o.r}
	}
	return nil
}

// Objects returns a list of objects; ok is false if it is absent, which is not
// the same as empty.
func (o *Object) Objects(key string) (list List, ok bool) {
	in, ok := o.tree.Objects(key)
	return List{o.r, in}, ok
}

// List is a list of objects. The zero value is empty.
type List struct {
	r    *Reader
	list jsontree.List
}

// Each calls f for every element. One of another kind is a fault and left out.
// Each stops when more faults are found than are told.
func (l List) Each(f func(o *Object)) {
	l.list.Each(func(o *jsontree.Object) { f(&Object{tree: o, r: l.r}) })
}

// Warn says of a field what the model can not hold.
func (o *Object) Warn(key, detail string) { o.r.Warn(o.At(key), detail) }

// Quiet keeps Draft.Read from noting what follows from a fault that is told.
func (o *Object) Quiet(key string) { o.quiet = append(o.quiet, key) }

// Int returns a field that is a whole number from low to high, and not written
// as -0; ok is false if it is absent or something else.
func (o *Object) Int(key string, low, high int) (v int, ok bool) {
	v, ok = o.tree.Int(key, low, high)
	if !ok || v != 0 {
		return v, ok
	}
	if s, _ := o.Number(key); s == "-0" {
		o.Fault(key, s, sg.ErrInvalid, fmt.Sprintf("want a whole number from %d to %d", low, high))
		return 0, false
	}
	return 0, true
}

// IgnoreText takes a known text field that the model can not hold: it is
// listed as a warning if it says anything.
func (o *Object) IgnoreText(key, detail string) {
	if o.Text(key) != "" {
		o.Warn(key, detail)
	}
}

// IgnoreObject takes a known object field that the model can not hold: it is
// listed as a warning if it says anything.
func (o *Object) IgnoreObject(key, detail string) {
	if m := o.Object(key); m != nil && !m.Empty() {
		o.Warn(key, detail)
	}
}
