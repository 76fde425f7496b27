// Package jsontree reads JSON strictly: every fault is reported with its path,
// all at once, unknown and repeated fields included.
//
// It keeps a document as the bytes it came in and looks at one level at a
// time, so that a hostile one costs little more than its own size.
package jsontree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"example.com/secgroup/sg"
)

const (
	// MaxBytes is the size limit of a document.
	MaxBytes = 64 << 20

	// MaxFaults bounds how many faults are told, and so what a hostile document
	// can cost; those found after that many are counted only.
	MaxFaults = 1000

	// maxDepth bounds the nesting of a document: its fields have depth 1.
	maxDepth = 32
)

// Faults collects what is wrong with one document. The zero value is empty. It
// is not safe for concurrent use.
type Faults struct {
	Told  sg.Errors // not more than MaxFaults
	Count int       // all, also those that are not told
}

// Add notes a fault.
func (f *Faults) Add(path string, value any, kind error, detail string) {
	if f.Count++; len(f.Told) < MaxFaults {
		f.Told.Add(path, value, kind, detail)
	}
}

// Merge notes the faults in err, if any, below path.
func (f *Faults) Merge(path string, err error) {
	var errs sg.Errors
	errs.Merge(path, err)
	for _, e := range errs {
		f.Add(e.Path, e.Value, e.Err, e.Detail)
	}
}

// Err returns the faults in order of path as sg.Errors, with a word about those
// that are not told; nil if there are none.
func (f *Faults) Err() error {
	errs := f.Told[:len(f.Told):len(f.Told)]
	if f.Count > len(errs) {
		errs.Add("", nil, sg.ErrInvalid, fmt.Sprintf("not more than %d faults are told", len(errs)))
	}
	return errs.Err()
}

// Parse reads a document that is one JSON object in UTF-8, of at most MaxBytes.
// Faults in the fields are added to f; the error, which is sg.Errors, is for
// what is no such document at all: also one with an escape that is half a
// character (RFC 7493, section 2.1), which encoding/json would replace and so
// make different ids equal.
func Parse(b []byte, f *Faults) (*Object, error) {
	var whole sg.Errors
	if len(b) > MaxBytes {
		whole.Add("", len(b), sg.ErrQuota, "a document has at most 64 MiB")
		return nil, whole
	}
	if offset, why := check(b); why != "" {
		before := b[:offset]
		line, column := bytes.Count(before, []byte{'\n'})+1, len(before)-bytes.LastIndexByte(before, '\n')
		whole.Add("", nil, sg.ErrInvalid, fmt.Sprintf("line %d, column %d: %s", line, column, why)) // in bytes, from 1
		return nil, whole
	}
	raw := bytes.TrimRight(b[blanks(b, 0):], " \t\r\n")
	if k := kindOf(raw); k != object {
		whole.Add("", nil, sg.ErrInvalid, "want a JSON object, not "+article(k))
		return nil, whole
	}
	return newObject("", raw, f), nil
}

// check returns where b is first no JSON, nested too deep or not made of
// characters, and why; why is empty if b is all right.
func check(b []byte) (offset int, why string) {
	offset, why = scan(b)
	if !utf8.Valid(b) {
		if i := firstOdd(b); why == "" || i < offset {
			offset, why = i, "not valid UTF-8"
		}
	}
	if json.Valid(b) {
		return offset, why
	}
	if i, text := syntax(b); why == "" || i < offset {
		return i, text
	}
	return offset, why
}

// syntax returns where b, which is no JSON, is wrong, and why.
func syntax(b []byte) (offset int, why string) {
	var err *json.SyntaxError
	if !errors.As(json.Unmarshal(b, new(json.RawMessage)), &err) {
		return len(b), "no JSON" // not known to come
	}
	offset, why = min(int(err.Offset)-1, len(b)), err.Error()
	blank := bytes.HasSuffix(b, []byte{' '})
	if strings.HasPrefix(why, "unexpected end") || // or ends inside a word, which encoding/json ends by a blank of its own
		!blank && offset+1 == len(b) && strings.HasPrefix(why, "invalid character ' '") {
		return len(b), "the document ends too early"
	}
	return max(0, offset), why
}

// firstOdd returns where b stops being UTF-8.
func firstOdd(b []byte) int {
	i := 0
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		i += n
	}
	return i
}

// scan looks, in whatever bytes, for what encoding/json allows and a document
// must not have: deep nesting and half characters.
func scan(b []byte) (offset int, why string) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			if depth++; depth <= maxDepth {
				continue
			}
			if j := blanks(b, i+1); j < len(b) && b[j] != '}' && b[j] != ']' {
				return j, fmt.Sprintf("nested deeper than %d", maxDepth)
			}
		case '}', ']':
			depth--
		case '"':
			end := textEnd(b, i)
			if odd := halfEscape(b[i:end]); odd >= 0 {
				return i + odd, "an escape that is half a character"
			}
			i = end
		}
	}
	return 0, ""
}

// halfEscape returns where an unpaired surrogate stands in a text, or -1.
func halfEscape(b []byte) int {
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		switch r := surrogate(b[i:]); {
		case r == 0:
			i++ // what is escaped
		case r < 0xDC00 && len(b) > i+6 && surrogate(b[i+6:]) >= 0xDC00:
			i += 11
		default:
			return i
		}
	}
	return -1
}
