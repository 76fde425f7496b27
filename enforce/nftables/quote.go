package nftables

import "strings"

// maxComment is below the 128 bytes that nft takes for a comment.
const maxComment = 120

// quote makes a string of nft's grammar of s. The grammar has no escapes, so
// whatever is no printable ASCII character, and quotes and backslashes, become
// question marks: nothing that a name contains can end the string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, c := range s {
		if i >= maxComment-3 {
			b.WriteString("...")
			break
		}
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			c = '?'
		}
		b.WriteRune(c)
	}
	b.WriteByte('"')
	return b.String()
}

// withComment adds a comment to a rule.
func withComment(rule, comment string) string {
	if comment == "" {
		return rule
	}
	return rule + " comment " + quote(comment)
}
