// Package ends compares chains: most of two of them is alike.
package ends

import "example.com/secgroup/compile/ir"

// block is how many rules are compared at once.
const block = 32

// Common returns how many rules a and b have in common at the start, and at
// the end behind those.
func Common(a, b []ir.RuleNum) (head, tail int) {
	n := min(len(a), len(b))
	for head+block <= n && *(*[block]ir.RuleNum)(a[head:]) == *(*[block]ir.RuleNum)(b[head:]) {
		head += block
	}
	for head < n && a[head] == b[head] {
		head++
	}
	a, b = a[head:], b[head:]
	n -= head
	for tail+block <= n && *(*[block]ir.RuleNum)(a[len(a)-tail-block:]) == *(*[block]ir.RuleNum)(b[len(b)-tail-block:]) {
		tail += block
	}
	for tail < n && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	return head, tail
}
