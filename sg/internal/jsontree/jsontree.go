// Package jsontree reads JSON strictly: every fault is reported with its path,
// all at once, unknown and repeated fields included.
package jsontree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"example.com/secgroup/sg"
)

// maxDepth bounds the nesting of a document.
const maxDepth = 32

// MaxFaults bounds how many faults are noted, and so what a hostile document
// can cost; those found after that many are dropped.
const MaxFaults = 1000

// node is one JSON value.
type node struct {
	kind   string // "object", "array", "string", "number", "boolean" or "null"
	text   string // of a string or number
	truth  bool
	fields []field
	items  []*node
}

type field struct {
	key string
	val *node
}

// Object reads the fields of one JSON object. Its methods note faults and
// return zero values for them; Done reports the fields that nobody asked for.
type Object struct {
	Path string
	n    *node
	errs *sg.Errors
	read []string // few
}

// Parse reads a document that is one JSON object. Faults in the fields are
// added to errs; the error is for what is no JSON object at all.
func Parse(b []byte, errs *sg.Errors) (*Object, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	n, err := parse(dec, 0)
	if err == nil {
		if _, extra := dec.Token(); !errors.Is(extra, io.EOF) {
			err = errors.New("something follows the document")
		}
	}
	if err != nil {
		return nil, located(b, err, dec.InputOffset())
	}
	if n.kind != "object" {
		return nil, &sg.FieldError{Err: sg.ErrInvalid, Detail: "want a JSON object, not " + article(n.kind)}
	}
	return newObject("", n, errs), nil
}

// located says at which line and column, in bytes, from 1, b is faulty. The
// decoder knows the last token only; the scan of the whole knows the place.
func located(b []byte, err error, offset int64) error {
	var syntax *json.SyntaxError
	if depth := new(depthError); !errors.As(err, &depth) && errors.As(json.Unmarshal(b, new(json.RawMessage)), &syntax) {
		err, offset = syntax, syntax.Offset-1
		text, blank := syntax.Error(), bytes.HasSuffix(b, []byte{' '})
		if strings.HasPrefix(text, "unexpected end") || // or ends inside a word, which the scan ends by a blank of its own
			!blank && offset+1 == int64(len(b)) && strings.HasPrefix(text, "invalid character ' '") {
			err, offset = errors.New("the document ends too early"), int64(len(b))
		}
	}
	before := b[:max(0, min(int(offset), len(b)))]
	line, column := bytes.Count(before, []byte{'\n'})+1, len(before)-bytes.LastIndexByte(before, '\n')
	return &sg.FieldError{Err: sg.ErrInvalid, Detail: fmt.Sprintf("line %d, column %d: %v", line, column, err)}
}

type depthError struct{}

func (*depthError) Error() string { return fmt.Sprintf("nested deeper than %d", maxDepth) }

func parse(dec *json.Decoder, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, new(depthError)
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := tok.(type) {
	case string:
		return &node{kind: "string", text: v}, nil
	case json.Number:
		return &node{kind: "number", text: v.String()}, nil
	case bool:
		return &node{kind: "boolean", truth: v}, nil
	case nil:
		return &node{kind: "null"}, nil
	}
	n := &node{kind: "array"}
	if tok == json.Delim('{') {
		n.kind = "object"
	}
	for dec.More() {
		var key string
		if n.kind == "object" {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			key = k.(string)
		}
		v, err := parse(dec, depth+1)
		if err != nil {
			return nil, err
		}
		if n.kind == "object" {
			n.fields = append(n.fields, field{key, v})
		} else {
			n.items = append(n.items, v)
		}
	}
	_, err = dec.Token() // the closing bracket
	return n, err
}

func newObject(path string, n *node, errs *sg.Errors) *Object {
	o := &Object{Path: path, n: n, errs: errs}
	if len(n.fields) < 2 {
		return o
	}
	seen := make(map[string]int, len(n.fields))
	for _, f := range n.fields {
		if seen[f.key]++; seen[f.key] == 2 {
			o.Fault(f.key, nil, sg.ErrDuplicate, "the field stands more than once")
		}
	}
	return o
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
	o.fault(o.At(key), value, kind, detail)
}

func (o *Object) fault(path string, value any, kind error, detail string) {
	if len(*o.errs) < MaxFaults {
		o.errs.Add(path, value, kind, detail)
	}
}

// Merge notes the faults in err below a field, or an element of it.
func (o *Object) Merge(field string, err error) {
	if len(*o.errs) < MaxFaults {
		o.errs.Merge(sg.JoinPath(o.Path, field), err)
	}
}

// get returns a field of the wanted kind; nil if it is absent or of another
// kind, which is a fault.
func (o *Object) get(key, kind string) *node {
	o.read = append(o.read, key)
	for _, f := range o.n.fields {
		if f.key != key {
			continue
		}
		if f.val.kind != kind {
			o.Fault(key, nil, sg.ErrInvalid, "want "+article(kind)+", not "+article(f.val.kind))
			return nil
		}
		return f.val
	}
	return nil
}

func article(kind string) string {
	switch kind {
	case "null":
		return "null"
	case "object", "array":
		return "an " + kind
	}
	return "a " + kind
}

// Has reports whether the field is there, of whatever kind.
func (o *Object) Has(key string) bool {
	for _, f := range o.n.fields {
		if f.key == key {
			return true
		}
	}
	return false
}

// String returns a text field; ok is false if it is absent or no text.
func (o *Object) String(key string) (s string, ok bool) {
	if n := o.get(key, "string"); n != nil {
		return n.text, true
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

// Bool returns a boolean field, or def if it is absent.
func (o *Object) Bool(key string, def bool) bool {
	if n := o.get(key, "boolean"); n != nil {
		return n.truth
	}
	return def
}

// Int returns a field that is a whole number from low to high; ok is false if
// it is absent or something else.
func (o *Object) Int(key string, low, high int) (v int, ok bool) {
	n := o.get(key, "number")
	if n == nil {
		return 0, false
	}
	v, err := strconv.Atoi(n.text)
	if err != nil || v < low || v > high {
		o.Fault(key, n.text, sg.ErrInvalid, fmt.Sprintf("want a whole number from %d to %d", low, high))
		return 0, false
	}
	return v, true
}

// Objects returns the elements of a list of objects; ok is false if the list
// is absent, which is not the same as empty. An element of another kind is a
// fault and left out. There may be elements missing once there are MaxFaults.
func (o *Object) Objects(key string) (list []*Object, ok bool) {
	n := o.get(key, "array")
	if n == nil {
		return nil, false
	}
	for i, item := range n.items {
		if len(*o.errs) >= MaxFaults {
			break
		}
		path := fmt.Sprintf("%s[%d]", o.At(key), i)
		if item.kind != "object" {
			o.fault(path, nil, sg.ErrInvalid, "want an object, not "+article(item.kind))
			continue
		}
		list = append(list, newObject(path, item, o.errs))
	}
	return list, true
}

// Strings returns the elements of a list of texts. An element of another kind
// is a fault and stands as "". There may be elements missing once there are
// MaxFaults.
func (o *Object) Strings(key string) []string {
	n := o.get(key, "array")
	if n == nil {
		return nil
	}
	var list []string
	for i, item := range n.items {
		if len(*o.errs) >= MaxFaults {
			break
		}
		if item.kind != "string" {
			o.fault(fmt.Sprintf("%s[%d]", o.At(key), i), nil, sg.ErrInvalid, "want a string, not "+article(item.kind))
			item = &node{kind: "string"}
		}
		list = append(list, item.text)
	}
	return list
}

// Done reports every field that was never asked for.
func (o *Object) Done() {
	told := map[string]bool{}
	for _, f := range o.n.fields {
		if !slices.Contains(o.read, f.key) && !told[f.key] {
			told[f.key] = true
			o.Fault(f.key, nil, sg.ErrUnknown, "")
		}
	}
}
