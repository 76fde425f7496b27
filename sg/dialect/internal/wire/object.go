package wire

import (
	"fmt"
	"strconv"
	"time"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
)

// Object reads the fields of one JSON object. Its methods note faults and
// return zero values for them; Done reports the fields that nobody asked for.
type Object struct {
	Path   string
	r      *Reader
	fields []field
	quiet  []string // fields whose absence or fault is told already
}

type field struct {
	key  string
	raw  []byte
	read bool
}

func newObject(r *Reader, path string, raw []byte) *Object {
	o := &Object{Path: path, r: r}
	each(raw, func(key string, value []byte) bool {
		o.fields = append(o.fields, field{key: key, raw: value})
		return true
	})
	if o.unique() {
		return o
	}
	seen := make(map[string]int, len(o.fields))
	for _, f := range o.fields {
		if seen[f.key]++; seen[f.key] == 2 {
			o.Fault(f.key, nil, sg.ErrDuplicate, "the field stands more than once")
		}
	}
	return o
}

// unique reports whether o has few fields and none twice, which is how it
// should be and needs no map.
func (o *Object) unique() bool {
	if len(o.fields) > 24 {
		return false
	}
	for i, f := range o.fields {
		for _, g := range o.fields[:i] {
			if f.key == g.key {
				return false
			}
		}
	}
	return true
}

// At returns the path of a field of o. A key that could be taken for something
// else in a path is quoted, as in rules[0]["a.b"].
func (o *Object) At(key string) string {
	for _, c := range key {
		if c != '_' && c != '-' && !('0' <= c && c <= '9') && !('a' <= c && c <= 'z') && !('A' <= c && c <= 'Z') {
			return o.Path + "[" + strconv.Quote(key) + "]"
		}
	}
	if key == "" {
		return o.Path + `[""]`
	}
	return sg.JoinPath(o.Path, key)
}

// Fault notes a fault of a field.
func (o *Object) Fault(key string, value any, kind error, detail string) {
	o.r.fault(o.At(key), value, kind, detail)
}

// Merge notes the faults in err, if any, as faults of a field.
func (o *Object) Merge(key string, err error) {
	var errs sg.Errors
	errs.Merge("", err)
	for _, f := range errs {
		o.Fault(key, f.Value, f.Err, f.Detail)
	}
}

// Warn says of a field what the model can not hold.
func (o *Object) Warn(key, detail string) { o.r.Warn(o.At(key), detail) }

// Quiet keeps Draft.Read from noting what follows from a fault that is told.
func (o *Object) Quiet(key string) { o.quiet = append(o.quiet, key) }

// find returns a field, which then counts as read, or nil.
func (o *Object) find(key string) []byte {
	var raw []byte
	for i := range o.fields {
		if f := &o.fields[i]; f.key == key {
			f.read = true
			if raw == nil {
				raw = f.raw
			}
		}
	}
	return raw
}

// get returns a field of the wanted kind; nil if it is absent or of another
// kind, which is a fault.
func (o *Object) get(key string, want kind) []byte {
	raw := o.find(key)
	if raw == nil {
		return nil
	}
	if k := kindOf(raw); k != want {
		o.Fault(key, nil, sg.ErrInvalid, "want "+article(want)+", not "+article(k))
		return nil
	}
	return raw
}

// Has reports whether the field is there, of whatever kind.
func (o *Object) Has(key string) bool {
	for _, f := range o.fields {
		if f.key == key {
			return true
		}
	}
	return false
}

// IsNull reports whether the field is there and null, and takes it as read if
// so.
func (o *Object) IsNull(key string) bool {
	for _, f := range o.fields {
		if f.key == key && kindOf(f.raw) == null {
			o.find(key)
			return true
		}
	}
	return false
}

// Skip takes a field as read, whatever it is; its fault is told elsewhere.
func (o *Object) Skip(key string) { o.find(key) }

// String returns a text field; ok is false if it is absent or no text.
func (o *Object) String(key string) (s string, ok bool) {
	if raw := o.get(key, text); raw != nil {
		return unquote(raw), true
	}
	return "", false
}

// Text returns a text field, or "" if it is absent.
func (o *Object) Text(key string) string {
	s, _ := o.String(key)
	return s
}

// Required returns a text field that must be there and not be empty.
func (o *Object) Required(key string) (string, bool) {
	s, ok := o.String(key)
	switch {
	case !o.Has(key):
		o.Fault(key, nil, sg.ErrRequired, "")
	case ok && s == "":
		o.Fault(key, nil, sg.ErrRequired, "must not be empty")
	}
	return s, ok && s != ""
}

// Optional returns a text field that must not be empty if it is there.
func (o *Object) Optional(key string) (string, bool) {
	if !o.Has(key) {
		return "", false
	}
	return o.Required(key)
}

// Bool returns a boolean field, or def if it is absent.
func (o *Object) Bool(key string, def bool) bool {
	if raw := o.get(key, boolean); raw != nil {
		return raw[0] == 't'
	}
	return def
}

// Int returns a field that is a whole number from low to high; ok is false if
// it is absent or something else.
func (o *Object) Int(key string, low, high int) (v int, ok bool) {
	raw := o.get(key, number)
	if raw == nil {
		return 0, false
	}
	v, err := strconv.Atoi(string(raw))
	if err != nil || v < low || v > high || raw[0] == '-' && v == 0 {
		o.Fault(key, string(raw), sg.ErrInvalid, fmt.Sprintf("want a whole number from %d to %d", low, high))
		return 0, false
	}
	return v, true
}

// Time returns a point in time as in RFC 3339, in UTC; zero if it is absent.
func (o *Object) Time(key string) time.Time {
	s, ok := o.String(key)
	if !ok {
		return time.Time{}
	}
	var t time.Time
	if t.UnmarshalText([]byte(s)) != nil {
		o.Fault(key, s, sg.ErrInvalid, "want a time as in RFC 3339, such as 2026-03-01T12:00:00Z")
		return time.Time{}
	}
	if t = t.UTC(); t.Year() < 0 || t.Year() > 9999 {
		o.Fault(key, s, sg.ErrInvalid, "in UTC, the year does not have four digits")
		return time.Time{}
	}
	return t
}

// Object returns an object field; nil if it is absent or something else.
func (o *Object) Object(key string) *Object {
	raw := o.get(key, object)
	if raw == nil {
		return nil
	}
	return newObject(o.r, o.At(key), raw)
}

// Objects returns a list of objects; ok is false if it is absent, which is not
// the same as empty.
func (o *Object) Objects(key string) (list List, ok bool) {
	return List{o.r, o.At(key), o.get(key, array)}, o.Has(key)
}

// List is a list of objects. The zero value is empty.
type List struct {
	r    *Reader
	path string
	raw  []byte // nil if it is absent, or no list
}

// Each calls f for every element. One of another kind is a fault and left out.
// Each stops when more faults are found than are told.
func (l List) Each(f func(o *Object)) {
	n := -1
	each(l.raw, func(_ string, item []byte) bool {
		n++
		path := fmt.Sprintf("%s[%d]", l.path, n)
		if k := kindOf(item); k != object {
			l.r.fault(path, nil, sg.ErrInvalid, "want an object, not "+article(k))
		} else {
			f(newObject(l.r, path, item))
		}
		return l.r.faults <= jsontree.MaxFaults
	})
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
	if m := o.Object(key); m != nil && len(m.fields) > 0 {
		o.Warn(key, detail)
	}
}

// Done reports every field that was never asked for.
func (o *Object) Done() {
	var told map[string]bool
	for _, f := range o.fields {
		if f.read || told[f.key] {
			continue
		}
		if told == nil {
			told = map[string]bool{}
		}
		told[f.key] = true
		o.Fault(f.key, nil, sg.ErrUnknown, "")
	}
}
