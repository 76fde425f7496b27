package main

import (
	"slices"
	"strconv"
)

// series is all samples of a run.
type series []sample

// key names a column of samples: one value per round.
type key struct{ trial, engine, unit string }

// values returns the column by round: index 0 is round 1.
func (s series) values(k key) []float64 {
	var out []float64
	for _, m := range s {
		if m.trial == k.trial && m.engine == k.engine && m.unit == k.unit {
			out = append(out, m.of)
		}
	}
	return out
}

// ratios returns a/b of every round that both have.
func (s series) ratios(a, b key) []float64 {
	x, y := s.values(a), s.values(b)
	var out []float64
	for i := range min(len(x), len(y)) {
		if y[i] != 0 {
			out = append(out, x[i]/y[i])
		}
	}
	return out
}

// differences returns a-b of every round that both have, at least 0.
func (s series) differences(a, b key) []float64 {
	x, y := s.values(a), s.values(b)
	var out []float64
	for i := range min(len(x), len(y)) {
		out = append(out, max(0, x[i]-y[i]))
	}
	return out
}

// keys returns the columns in the order in which they were measured.
func (s series) keys() []key {
	var out []key
	seen := make(map[key]bool)
	for _, m := range s {
		if k := (key{m.trial, m.engine, m.unit}); !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	// A trial's rounds rotate, so the first of the first round is the first
	// contestant, and the order holds.
	return out
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// spread is half of what lies between the least and the greatest, in percent
// of the median; 0 if there is no median.
func spread(v []float64) float64 {
	m := median(v)
	if m == 0 {
		return 0
	}
	return 50 * (slices.Max(v) - slices.Min(v)) / m
}

// short writes three digits, and all of those before the point.
func short(f float64) string {
	switch {
	case f >= 100:
		return group(strconv.FormatFloat(f, 'f', 0, 64))
	case f >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	case f == 0:
		return "0"
	case f < 0.01:
		return "<0.01"
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

// group puts a comma before every three digits.
func group(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
