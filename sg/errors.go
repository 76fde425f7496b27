package sg

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Errors test with errors.Is; every *FieldError wraps exactly one.
var (
	ErrRequired    = errors.New("required")
	ErrInvalid     = errors.New("invalid")
	ErrDuplicate   = errors.New("duplicate")
	ErrFamily      = errors.New("address family mismatch")
	ErrNotFound    = errors.New("not found")
	ErrInUse       = errors.New("in use")
	ErrQuota       = errors.New("quota exceeded")
	ErrForbidden   = errors.New("forbidden")
	ErrUnsupported = errors.New("unsupported")
	ErrUnknown     = errors.New("unknown field")
	ErrConflict    = errors.New("conflict")
)

// FieldError is one fault at one place.
type FieldError struct {
	Path   string // e.g. `groups["sg-web"].rules[3].ports`; empty for the whole
	Value  any    // what stood there; nil if nothing did
	Err    error  // one of the Err values above
	Detail string // for people; not matched on
}

// An error text is bounded, whatever the input: it repeats at most maxShown
// bytes of the offending value and maxText bytes each of path and detail,
// which may name other objects.
const (
	maxShown = 64
	maxText  = 1024
)

// Error is one line: path, kind of fault, the value, what was expected.
func (e *FieldError) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(oneLine(e.Path))
		b.WriteString(": ")
	}
	b.WriteString(e.kind())
	if e.Value != nil {
		fmt.Fprintf(&b, " %q", e.shown())
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(oneLine(e.Detail))
	}
	return b.String()
}

// kind is the text of Err; a fault without one is invalid.
func (e *FieldError) kind() string {
	if e.Err == nil {
		return ErrInvalid.Error()
	}
	return e.Err.Error()
}

// shown is the beginning of Value as text.
func (e *FieldError) shown() string {
	v := fmt.Sprint(e.Value)
	if len(v) > maxShown {
		v = strings.ToValidUTF8(v[:maxShown], "") + "…"
	}
	return v
}

// MarshalJSON writes an object of texts: path, kind (that of Err) and, where
// there are such, value and detail. They are bounded as in Error.
func (e *FieldError) MarshalJSON() ([]byte, error) {
	out := struct {
		Path   string  `json:"path"`
		Kind   string  `json:"kind"`
		Value  *string `json:"value,omitempty"`
		Detail string  `json:"detail,omitempty"`
	}{oneLine(e.Path), e.kind(), nil, oneLine(e.Detail)}
	if e.Value != nil {
		v := e.shown()
		out.Value = &v
	}
	return json.Marshal(out)
}

// oneLine cuts the middle out of a long s and replaces what could break a line
// or a terminal.
func oneLine(s string) string {
	if len(s) > maxText {
		s = s[:maxText/2] + "…" + s[len(s)-maxText/2:]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// Unwrap returns the kind of fault.
func (e *FieldError) Unwrap() error { return e.Err }

// Errors is every fault found, in path order. A returned Errors is never
// empty; the zero value is a collector.
type Errors []*FieldError

// Error is one line per fault.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the faults.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, f := range e {
		out[i] = f
	}
	return out
}

// Add notes a fault of kind err at path.
func (e *Errors) Add(path string, value any, err error, detail string) {
	*e = append(*e, &FieldError{Path: path, Value: value, Err: err, Detail: detail})
}

// addName notes why s can not be an id or a name, if so, at path.
func (e *Errors) addName(path, s string) {
	if f := nameFault(s); f != nil {
		f.Path = path
		*e = append(*e, f)
	}
}

// nameFault returns why s can not be an id or a name, or nil.
func nameFault(s string) *FieldError {
	switch why := CheckName(s); {
	case why == "":
		return nil
	case s == "":
		return &FieldError{Err: ErrRequired, Detail: why}
	default:
		return &FieldError{Value: s, Err: ErrInvalid, Detail: why}
	}
}

// Merge adds the faults in err below path: those of every *FieldError that err
// is, wraps or joins. An error without any becomes one ErrInvalid fault.
func (e *Errors) Merge(path string, err error) {
	if many, ok := err.(Errors); err == nil || ok && len(many) == 0 {
		return
	}
	before := len(*e)
	e.merge(path, err)
	if len(*e) == before {
		e.Add(path, nil, ErrInvalid, err.Error())
	}
}

func (e *Errors) merge(path string, err error) {
	switch x := err.(type) {
	case *FieldError:
		g := *x
		g.Path = JoinPath(path, x.Path)
		*e = append(*e, &g)
	case interface{ Unwrap() []error }:
		for _, one := range x.Unwrap() {
			e.merge(path, one)
		}
	case interface{ Unwrap() error }:
		if inner := x.Unwrap(); inner != nil {
			e.merge(path, inner)
		}
	}
}

// Err returns e sorted by path, or nil if it is empty.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *FieldError) int { return comparePaths(a.Path, b.Path) })
	return e
}

// JoinPath joins two path elements: a field behind a dot, an index as it is.
func JoinPath(a, b string) string {
	if a == "" || b == "" || b[0] == '[' {
		return a + b
	}
	return a + "." + b
}

// comparePaths orders paths as a reader expects: indices by number.
func comparePaths(a, b string) int {
	for a != "" && b != "" {
		na, ra := leadingNumber(a)
		nb, rb := leadingNumber(b)
		if na >= 0 && nb >= 0 {
			if c := cmp.Compare(na, nb); c != 0 {
				return c
			}
			a, b = ra, rb
			continue
		}
		if c := cmp.Compare(a[0], b[0]); c != 0 {
			return c
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// leadingNumber splits off up to nine leading digits; n is -1 if there are none.
func leadingNumber(s string) (n int, rest string) {
	i := 0
	for i < len(s) && i < 9 && '0' <= s[i] && s[i] <= '9' {
		n = n*10 + int(s[i]-'0')
		i++
	}
	if i == 0 {
		return -1, s
	}
	return n, s[i:]
}
