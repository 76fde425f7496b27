package jsontree

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"example.com/secgroup/sg"
)

// Object reads the fields of one JSON object. Its methods note faults and
// return zero values for them; Done reports the fields that nobody asked for.
type Object struct {
	Path   string
	faults *Faults
	fields []field
}

type field struct {
	key    string
	raw    []byte
	read   bool
	absent bool // a null that stands for it
}

func newObject(path string, raw []byte, f *Faults) *Object {
	o := &Object{Path: path, faults: f}
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
// else in a path is quoted, as in security_groups[0]["a.b"].
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
	o.faults.Add(o.At(key), value, kind, detail)
}

// Merge notes the faults in err, if any, below a field, or an element of it.
func (o *Object) Merge(key string, err error) {
	if err != nil {
		o.faults.Merge(sg.JoinPath(o.Path, key), err)
	}
}

// Nullable names fields where null stands for absent.
func (o *Object) Nullable(keys ...string) {
	for i := range o.fields {
		f := &o.fields[i]
		f.absent = f.absent || kindOf(f.raw) == null && slices.Contains(keys, f.key)
	}
}

// find returns a field, which then counts as read, or nil.
func (o *Object) find(key string) []byte {
	var found *field
	for i := range o.fields {
		if f := &o.fields[i]; f.key == key {
			f.read = true
			if found == nil {
				found = f
			}
		}
	}
	if found == nil || found.absent {
		return nil
	}
	return found.raw
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
			return !f.absent
		}
	}
	return false
}

// Empty reports whether the object has no fields.
func (o *Object) Empty() bool { return len(o.fields) == 0 }

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

// Number returns a number as it is written; ok is false if it is absent or
// something else.
func (o *Object) Number(key string) (s string, ok bool) {
	raw := o.get(key, number)
	return string(raw), raw != nil
}

// Int returns a field that is a whole number from low to high; ok is false if
// it is absent or something else.
func (o *Object) Int(key string, low, high int) (v int, ok bool) {
	s, ok := o.Number(key)
	if !ok {
		return 0, false
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < low || v > high {
		o.Fault(key, s, sg.ErrInvalid, fmt.Sprintf("want a whole number from %d to %d", low, high))
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

// Strings returns the elements of a list of texts. An element of another kind
// is a fault and stands as "". Once there are more than MaxFaults, there may be
// elements missing.
func (o *Object) Strings(key string) (list []string) {
	each(o.get(key, array), func(_ string, item []byte) bool {
		s := ""
		if k := kindOf(item); k == text {
			s = unquote(item)
		} else {
			o.faults.Add(fmt.Sprintf("%s[%d]", o.At(key), len(list)), nil, sg.ErrInvalid, "want a string, not "+article(k))
		}
		list = append(list, s)
		return o.faults.Count <= MaxFaults
	})
	return list
}

// Object returns an object field; nil if it is absent or something else.
func (o *Object) Object(key string) *Object {
	raw := o.get(key, object)
	if raw == nil {
		return nil
	}
	return newObject(o.At(key), raw, o.faults)
}

// Objects returns a list of objects; ok is false if it is absent, which is not
// the same as empty.
func (o *Object) Objects(key string) (list List, ok bool) {
	return List{o.faults, o.At(key), o.get(key, array)}, o.Has(key)
}

// List is a list of objects. The zero value is empty.
type List struct {
	faults *Faults
	path   string
	raw    []byte // nil if it is absent, or no list
}

// Each calls f for every element. One of another kind is a fault and left out.
// Each stops when more faults are found than are told.
func (l List) Each(f func(o *Object)) {
	n := -1
	each(l.raw, func(_ string, item []byte) bool {
		n++
		path := fmt.Sprintf("%s[%d]", l.path, n)
		if k := kindOf(item); k != object {
			l.faults.Add(path, nil, sg.ErrInvalid, "want an object, not "+article(k))
		} else {
			f(newObject(path, item, l.faults))
		}
		return l.faults.Count <= MaxFaults
	})
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
