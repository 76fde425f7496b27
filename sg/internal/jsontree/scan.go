package jsontree

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
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

// textEnd returns the offset of the quote that ends the text that begins at
// b[i], or len(b).
func textEnd(b []byte, i int) int {
	for i++; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return min(i, len(b))
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
			i = textEnd(b, i)
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
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
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
