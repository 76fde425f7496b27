package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"example.com/secgroup/sg"
)

// kind is the kind of a JSON value.
type kind uint8

const (
	object kind = iota + 1
	array
	text
	number
	boolean
	null
)

// article names a kind in a sentence.
func article(k kind) string {
	return [...]string{"nothing", "an object", "an array", "a string", "a number", "a boolean", "null"}[k]
}

func kindOf(raw []byte) kind {
	switch raw[0] {
	case '{':
		return object
	case '[':
		return array
	case '"':
		return text
	case 't', 'f':
		return boolean
	case 'n':
		return null
	}
	return number
}

// check returns the one JSON value of b without the blanks around it, or says
// where b is faulty: no JSON, not UTF-8, nested too deep, or an escape that is
// half a character (RFC 7493, section 2.1), which encoding/json would replace
// and so make different ids equal.
func check(b []byte) ([]byte, error) {
	if i := firstOdd(b); i >= 0 {
		return nil, at(b, i, "not valid UTF-8")
	}
	if i, why := scan(b); why != "" {
		return nil, at(b, i, why)
	}
	var raw json.RawMessage
	err := json.Unmarshal(b, &raw)
	if err == nil {
		return bytes.TrimRight(b[blanks(b, 0):], " \t\r\n"), nil
	}
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) || strings.HasPrefix(syntax.Error(), "unexpected end") {
		return nil, at(b, len(b), "the document ends too early")
	}
	return nil, at(b, int(syntax.Offset)-1, syntax.Error())
}

// at is a fault at an offset, told as line and column, in bytes, from 1.
func at(b []byte, offset int, why string) error {
	before := b[:max(0, min(offset, len(b)))]
	line, column := bytes.Count(before, []byte{'\n'})+1, len(before)-bytes.LastIndexByte(before, '\n')
	return &sg.FieldError{Err: sg.ErrInvalid, Detail: fmt.Sprintf("line %d, column %d: %s", line, column, why)}
}

// firstOdd returns where b stops being UTF-8, or -1.
func firstOdd(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
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
// must not have.
func scan(b []byte) (offset int, why string) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			if depth++; depth > maxDepth {
				return i, fmt.Sprintf("nested deeper than %d", maxDepth)
			}
		case '}', ']':
			depth--
		case '"':
			end, odd := scanText(b, i)
			if odd >= 0 {
				return odd, "an escape that is half a character"
			}
			i = end
		}
	}
	return 0, ""
}

// scanText returns the offset of the quote that ends the text that begins at
// b[i], and where an unpaired surrogate stands in it, or -1.
func scanText(b []byte, i int) (end, odd int) {
	for i++; i < len(b) && b[i] != '"'; i++ {
		if b[i] != '\\' {
			continue
		}
		switch r := surrogate(b[i:]); {
		case r == 0:
			i++ // what is escaped
		case r < 0xDC00 && len(b) > i+6 && surrogate(b[i+6:]) >= 0xDC00:
			i += 11
		default:
			return i, i
		}
	}
	return i, -1
}

// surrogate returns the UTF-16 surrogate that b begins with as an escape, or 0.
func surrogate(b []byte) rune {
	if len(b) < 6 || b[1] != 'u' || b[0] != '\\' || b[2]|0x20 != 'd' {
		return 0
	}
	var r rune
	for _, c := range b[2:6] {
		n := strings.IndexByte("0123456789abcdef", c|0x20) // of a digit, the bit is set already
		if n < 0 {
			return 0
		}
		r = r<<4 | rune(n)
	}
	if r < 0xD800 || r > 0xDFFF {
		return 0
	}
	return r
}

// blanks returns the offset of the first byte from i on that is no blank.
func blanks(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// valueEnd returns the end of the value that begins at b[i]. b is known to be
// valid JSON.
func valueEnd(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			i, _ = scanText(b, i)
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // of a number, say, that b has something behind
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// unquote returns the text of a JSON string.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "" // raw is known to be valid
	}
	return s
}

// each calls f for every element of an array, or field of an object, whose key
// it gives, until f returns false. raw is empty or known to be valid.
func each(raw []byte, f func(key string, value []byte) bool) {
	for i := blanks(raw, 1); i < len(raw)-1; {
		key := ""
		if raw[0] == '{' {
			end := valueEnd(raw, i)
			key = unquote(raw[i:end])
			i = blanks(raw, blanks(raw, end)+1) // the colon
		}
		end := valueEnd(raw, i)
		if !f(key, raw[i:end]) {
			return
		}
		i = blanks(raw, blanks(raw, end)+1) // the comma, or the end
	}
}
