package ipset

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"example.com/secgroup/sg"
)

// Report is the outcome of a bulk add: duplicates are skipped, faults are told
// line by line, good lines are kept.
type Report struct {
	Added      []netip.Prefix
	Duplicates []Line
	Invalid    []Line
}

// Line is one input line that was not added, 1-based.
type Line struct {
	Number int
	Text   string // trimmed, at most 80 bytes of valid UTF-8
	Err    error
}

// maxLine bounds the text that a Line keeps.
const maxLine = 80

// AddLines adds one entry per line of text. Blank lines and lines that start
// with # are skipped; what follows a # behind an entry is its description.
// Blanks around an entry are trimmed. Line ends are LF, CRLF or CR.
func (s *Set) AddLines(text string) Report {
	var r Report
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		cidr, note, _ := strings.Cut(line, "#")
		cidr = strings.TrimSpace(cidr)
		if cidr == "" {
			continue
		}
		p, err := ParseEntry(cidr)
		if err == nil {
			err = s.Add(Entry{p, strings.TrimSpace(note)})
		}
		switch {
		case err == nil:
			r.Added = append(r.Added, p)
		case errors.Is(err, sg.ErrDuplicate):
			r.Duplicates = append(r.Duplicates, newLine(number, cidr, err))
		default:
			r.Invalid = append(r.Invalid, newLine(number, cidr, err))
		}
	}
	return r
}

func newLine(number int, text string, err error) Line {
	return Line{number, strings.ToValidUTF8(text[:min(len(text), maxLine)], ""), err}
}

// Err returns the invalid lines as sg.Errors with paths such as "line[3]", or
// nil if there are none.
func (r Report) Err() error {
	var errs sg.Errors
	for _, l := range r.Invalid {
		errs.Merge(linePath(l.Number), l.Err)
	}
	return errs.Err()
}

func linePath(n int) string { return "line[" + strconv.Itoa(n) + "]" }
