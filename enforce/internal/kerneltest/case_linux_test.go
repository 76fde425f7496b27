package kerneltest

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"example.com/secgroup/sg"
)

// text returns a trial as parseTrial reads it: the rules, "=" and the rules
// that replace them, if they do, then the packets, "swap" among them. A packet
// is in or out, its bytes, of which a run of n zeros is written (n), and, for
// people, what it is and what became of it, if r is not nil.
func (tr trial) text(r *result) string {
	var s strings.Builder
	for phase, p := range tr.policies {
		if phase == 1 && tr.swap >= len(tr.steps) {
			break
		}
		if phase == 1 {
			s.WriteString("=\n")
		}
		for _, r := range p {
			fmt.Fprintln(&s, r)
		}
	}
	if tr.batch {
		s.WriteString("batch\n")
	}
	for i, st := range tr.steps {
		if i == tr.swap {
			s.WriteString("swap\n")
		}
		way := "out"
		if st.in {
			way = "in"
		}
		fmt.Fprintf(&s, "> %-3s %s %s # %s, %v\n", way, r.verdicts(i), zip(st.b), describe(st.b), r.engine[i].Reason)
	}
	return s.String()
}

// verdicts returns what the kernel and the engine made of a packet, in that
// order.
func (r *result) verdicts(i int) string {
	return string([]byte{"DA"[btoi(r.kernel[i])], "DA"[btoi(r.engine[i].Action == sg.Accept)]})
}

// zip returns bytes in hex, long runs of zeros shortened.
func zip(b []byte) string {
	var s strings.Builder
	for i := 0; i < len(b); {
		n := 0
		for i+n < len(b) && b[i+n] == 0 {
			n++
		}
		if n > 4 {
			fmt.Fprintf(&s, "(%d)", n)
			i += n
			continue
		}
		fmt.Fprintf(&s, "%02x", b[i])
		i++
	}
	return s.String()
}

// unzip reads what zip writes.
func unzip(s string) (b []byte, err error) {
	for s != "" {
		run := strings.IndexByte(s, '(')
		if run < 0 {
			run = len(s)
		}
		x, err := hex.DecodeString(s[:run])
		if err != nil {
			return nil, err
		}
		b, s = append(b, x...), s[run:]
		if s == "" {
			break
		}
		number, rest, ok := strings.Cut(s[1:], ")")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 || n > 65536 {
			return nil, fmt.Errorf("no run of zeros: %q", s)
		}
		b, s = append(b, make([]byte, n)...), rest
	}
	return b, nil
}

// parseTrial reads what text writes, and the verdicts. All its packets are of
// one cluster.
func parseTrial(s string) (tr trial, want []string, err error) {
	phase, swap := 0, -1
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		switch f := strings.Fields(line); {
		case line == "":
		case line == "=":
			phase = 1
		case line == "batch":
			tr.batch = true
		case line == "swap":
			swap = len(tr.steps)
		case f[0] == ">" && len(f) == 4:
			b, err := unzip(f[3])
			if err != nil {
				return tr, nil, err
			}
			tr.steps, want = append(tr.steps, step{in: f[1] == "in", b: b}), append(want, f[2])
		default:
			r, err := parseRule(line)
			if err != nil {
				return tr, nil, err
			}
			tr.policies[phase] = append(tr.policies[phase], r)
		}
	}
	if tr.swap = swap; swap < 0 {
		tr.swap = len(tr.steps)
	}
	if phase == 0 {
		tr.policies[1] = tr.policies[0]
	}
	return tr, want, nil
}
