// Package kerneltest holds tests that put the engine beside Linux: the same
// packets through both, and every difference named.
//
// It has no code of its own. The kernel is that of package netlabtest, or what
// it said of real captures.
package kerneltest
