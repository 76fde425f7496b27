package sg

import "strings"

// enum maps the canonical texts of a small enum to values; a later spelling
// of the same value is understood but never written.
type enum[T number] struct {
	what  string
	texts []enumText[T]
}

type enumText[T number] struct {
	text string
	v    T
}

type number interface{ ~uint8 | ~int16 }

// parse finds s in any letter case. Blanks are not trimmed. The texts are
// ASCII, and so must s be: EqualFold alone takes U+017F for an s and U+212A
// for a k, which the length gives away.
func (e enum[T]) parse(s string) (T, error) {
	for _, t := range e.texts {
		if len(t.text) == len(s) && strings.EqualFold(t.text, s) {
			return t.v, nil
		}
	}
	var zero T
	return zero, &FieldError{Value: s, Err: ErrInvalid, Detail: "want " + e.want()}
}

// want lists the canonical texts for an error message.
func (e enum[T]) want() string {
	var list []string
	seen := make(map[T]bool)
	for _, t := range e.texts {
		if !seen[t.v] {
			seen[t.v] = true
			list = append(list, t.text)
		}
	}
	article := "a "
	if strings.ContainsRune("aeiou", rune(e.what[0])) {
		article = "an "
	}
	return article + e.what + ": " + strings.Join(list, ", ")
}

// format returns the canonical text of v, or "" if v has none.
func (e enum[T]) format(v T) string {
	for _, t := range e.texts {
		if t.v == v {
			return t.text
		}
	}
	return ""
}

// marshal is format for a MarshalText method: a value without text is a fault.
func (e enum[T]) marshal(v T) ([]byte, error) {
	if s := e.format(v); s != "" {
		return []byte(s), nil
	}
	return nil, &FieldError{Value: int(v), Err: ErrInvalid, Detail: "want " + e.want()}
}
