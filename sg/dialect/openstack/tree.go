package openstack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
	"example.com/secgroup/sg/internal/jsontree"
)

// document collects the faults and warnings of one document. It reads what
// packages jsontree and wire do not: fields where null stands for absent, and
// lists of texts.
type document struct {
	errs     sg.Errors
	faults   int // all, also those beyond jsontree.MaxFaults, which errs leaves out
	warnings []sg.Warning
}

// node is one JSON value.
type node struct {
	kind   string // "object", "array", "string", "number", "boolean" or "null"
	text   string // of a string, number or boolean
	keys   []string
	values []*node // of keys, or the elements
}

// object reads the fields of one JSON object. Its methods note faults and
// return zero values for them; done reports the fields that nobody asked for.
type object struct {
	doc  *document
	path string
	node *node
	read map[string]bool
	null []string // fields where null stands for absent
}

// root reads a document that is one JSON object; nil if it is none.
func (d *document) root(b []byte) *object {
	if _, _, err := wire.Parse(b); err != nil { // size, syntax, UTF-8 and depth
		d.merge("", err)
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	n, err := parse(dec)
	if err != nil { // not after wire.Parse
		d.merge("", err)
		return nil
	}
	return d.object("", n)
}

// parse reads the next value of a document that is known to be sound.
func parse(dec *json.Decoder) (*node, error) {
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
		return &node{kind: "boolean", text: strconv.FormatBool(v)}, nil
	case nil:
		return &node{kind: "null"}, nil
	}
	n := &node{kind: "array"}
	if tok == json.Delim('{') {
		n.kind = "object"
	}
	for dec.More() {
		if n.kind == "object" {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			n.keys = append(n.keys, key.(string))
		}
		v, err := parse(dec)
		if err != nil {
			return nil, err
		}
		n.values = append(n.values, v)
	}
	_, err = dec.Token() // the closing bracket
	return n, err
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

func (d *document) fault(path string, value any, kind error, detail string) {
	d.merge(path, &sg.FieldError{Value: value, Err: kind, Detail: detail})
}

// merge notes the faults in err, if any, below path.
func (d *document) merge(path string, err error) {
	if err == nil {
		return
	}
	if d.faults++; d.faults <= jsontree.MaxFaults {
		d.errs.Merge(path, err)
	}
}

func (d *document) warn(path, detail string) {
	d.warnings = append(d.warnings, sg.Warning{Path: path, Detail: detail})
}

// err returns the faults in order of path, and a word about those left out.
func (d *document) err() error {
	if d.faults > jsontree.MaxFaults {
		d.errs.Add("", nil, sg.ErrInvalid, fmt.Sprintf("not more than %d faults are told", jsontree.MaxFaults))
	}
	return d.errs.Err()
}

func (d *document) object(path string, n *node) *object {
	o := &object{doc: d, path: path, node: n, read: map[string]bool{}}
	seen := make(map[string]int, len(n.keys))
	for _, key := range n.keys {
		if seen[key]++; seen[key] == 2 {
			o.fault(key, nil, sg.ErrDuplicate, "the field stands more than once")
		}
	}
	return o
}

// at returns the path of a field; an odd key is quoted.
func (o *object) at(key string) string {
	for _, c := range key {
		if c != '_' && c != '-' && (c < '0' || '9' < c) && (c < 'A' || 'Z' < c) && (c < 'a' || 'z' < c) {
			return o.path + "[" + strconv.Quote(key) + "]"
		}
	}
	if key == "" {
		return o.path + `[""]`
	}
	return sg.JoinPath(o.path, key)
}

func (o *object) fault(key string, value any, kind error, detail string) {
	o.doc.fault(o.at(key), value, kind, detail)
}

// merge notes the fault of a parser of one field, if any.
func (o *object) merge(key string, err error) { o.doc.merge(o.at(key), err) }

// find returns the field, whatever it is, or nil.
func (o *object) find(key string) *node {
	if i := slices.Index(o.node.keys, key); i >= 0 {
		return o.node.values[i]
	}
	return nil
}

// has reports whether the field is there and is not a null that stands for
// absent.
func (o *object) has(key string) bool {
	n := o.find(key)
	return n != nil && (n.kind != "null" || !slices.Contains(o.null, key))
}

// get returns a field of the wanted kind; nil if it is absent or of another
// kind, which is a fault.
func (o *object) get(key, kind string) *node {
	o.read[key] = true
	if !o.has(key) {
		return nil
	}
	n := o.find(key)
	if n.kind != kind {
		o.fault(key, nil, sg.ErrInvalid, "want "+article(kind)+", not "+article(n.kind))
		return nil
	}
	return n
}

// text returns a text field, or "".
func (o *object) text(key string) string {
	if n := o.get(key, "string"); n != nil {
		return n.text
	}
	return ""
}

// need returns a text field that must be there and not be empty; ok is false
// if it is not.
func (o *object) need(key string) (s string, ok bool) {
	n := o.get(key, "string")
	if !o.has(key) {
		o.fault(key, nil, sg.ErrRequired, "")
	}
	if n == nil {
		return "", false
	}
	if n.text == "" {
		o.fault(key, nil, sg.ErrRequired, "must not be empty")
	}
	return n.text, n.text != ""
}

// flag returns a boolean field; given is false if it is absent or no boolean.
func (o *object) flag(key string) (v, given bool) {
	n := o.get(key, "boolean")
	return n != nil && n.text == "true", n != nil
}

// number returns a whole number from low to high; ok is false if it is absent
// or something else.
func (o *object) number(key string, low, high int) (v int, ok bool) {
	n := o.get(key, "number")
	if n == nil {
		return 0, false
	}
	v, err := strconv.Atoi(n.text)
	if err != nil || v < low || v > high {
		o.fault(key, n.text, sg.ErrInvalid, fmt.Sprintf("want a whole number from %d to %d", low, high))
		return 0, false
	}
	return v, true
}

// object returns a field that is an object, or nil.
func (o *object) object(key string) *object {
	if n := o.get(key, "object"); n != nil {
		return o.doc.object(o.at(key), n)
	}
	return nil
}

// objects returns the elements of a list of objects. An element of another
// kind is a fault and left out.
func (o *object) objects(key string) []*object {
	n := o.get(key, "array")
	if n == nil {
		return nil
	}
	list := make([]*object, 0, len(n.values))
	for i, v := range n.values {
		path := fmt.Sprintf("%s[%d]", o.at(key), i)
		if v.kind != "object" {
			o.doc.fault(path, nil, sg.ErrInvalid, "want an object, not "+article(v.kind))
			continue
		}
		list = append(list, o.doc.object(path, v))
	}
	return list
}

// lost reads fields that the model can not hold and that change no verdict:
// one that carries a value is listed.
func (o *object) lost(kind string, keys ...string) {
	for _, key := range keys {
		n := o.get(key, kind)
		if n == nil || n.text == "false" && kind == "boolean" || kind != "number" && n.text == "" && len(n.values) == 0 {
			continue
		}
		o.doc.warn(o.at(key), "not kept")
	}
}

// done reports every field that was never asked for.
func (o *object) done() {
	for _, key := range o.node.keys {
		if !o.read[key] {
			o.read[key] = true // once
			o.fault(key, nil, sg.ErrUnknown, "")
		}
	}
}
