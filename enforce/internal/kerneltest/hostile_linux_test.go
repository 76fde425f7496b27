package kerneltest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// parse reads segments as "c SA 5000 1001 +100 w8192 s7": who, flags, sequence
// number, acknowledgement, and where they are not nothing and 8192, data and
// window, and a window scale.
func parse(t *testing.T, text string) (w []segment) {
	t.Helper()
	for line := range strings.SplitSeq(text, ";") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		g := segment{win: 8192, scale: -1}
		if f[0] == "s" {
			g.from = 1
		}
		for _, c := range f[1] {
			if c != '-' {
				g.flags |= 1 << strings.IndexRune("FSRPAU", c)
			}
		}
		numbers := []*uint32{&g.seq, &g.ack}
		for _, x := range f[2:] {
			switch x[0] {
			case '+':
				g.data = int(number(t, x[1:]))
			case 'w':
				g.win = uint16(number(t, x[1:]))
			case 's':
				g.scale = int(number(t, x[1:]))
			default:
				*numbers[0], numbers = number(t, x), numbers[1:]
			}
		}
		w = append(w, g)
	}
	return w
}

func number(t *testing.T, s string) (n uint32) {
	t.Helper()
	for _, c := range s {
		require.True(t, '0' <= c && c <= '9', s)
		n = 10*n + uint32(c-'0')
	}
	return n
}

// TestHostile plays the cases of the threat catalogue that need no change of
// policy through the engine and the kernel. Every segment is A or D; a small d
// is refused by the engine and passes the kernel, the case being one in which
// we mean to differ.
func TestHostile(t *testing.T) {
	d := newDuel(t)
	const open = "c S 1000; s SA 5000 1001; c A 1001 5001;"
	const over = open + "c FA 1001 5001; s FA 5001 1002; c A 1002 5002;"
	for _, tc := range []struct{ id, segments, want string }{
		{"TCP-01", "c - 1; c F 1; c FPU 1; c SF 1; c SR 1; c SFR 1; c FSRPAU 1; c FU 1; c P 1; c U 1; c FR 1; c SFA 1; c RU 1", "DDDDDDDDDDDDD"},
		{"TCP-02", "c A 1 1; c PA 1 1 +10", "DD"},
		{"TCP-03", "c SA 1 1", "D"},
		{"TCP-04", "c SU 1000", "A"},
		{"TCP-04/push", "c SP 1000", "A"},
		{"TCP-04/data", "c S 1000 +100", "A"},
		{"TCP-07", open + "s PA 1005001 1001 +100; s PA 5001 1001 +100", "AAADA"},
		{"TCP-08", open + "s A 5001 1002", "AAAD"},
		{"TCP-09", open + "s PA 5001 1001 +1000; c A 1001 6001; s R 5500; s R 1006001; s R 6501; c A 1001 6001; s PA 6001 1001 +10; c A 1001 6011", "AAAAADDAAAA"},
		{"TCP-10", open + "c PA 1001 5001 +10; s R 5001", "AAAAA"},
		{"TCP-11", open + "c S 1000; s S 5000; c A 1001 5001", "AAAADA"},
		{"TCP-12", "c S 1000; s S 5000; c SA 1000 5001; s SA 5000 1001; c A 1001 5001; s A 5001 1001", "AAAAAA"},
		{"TCP-14", "c S 4294967290; s SA 4294967295 4294967291; c A 4294967291 0; c PA 4294967291 0 +100; s PA 0 95 +1000; c A 95 1000", "AAAAAA"},
		{"TCP-15", "c S 1000 w65535 s7; s SA 5000 1001 w65535 s7; c A 1001 5001 w65535; s A 5001 1001 +1400; s A 539000 1001 +1400", "AAAAA"},
		{"TCP-16", "c S 1000 s14; s SA 5000 1001; c A 1001 5001; s PA 105001 1001 +100", "AAAD"},
		{"TCP-17", "c S 1000; s SA 5000 1001; c A 1001 5001 w0; s A 5001 1001 +1; c A 1001 5001 w0; s A 5000 1001; c A 1001 5002", "AAAAAAA"},
		{"TCP-18", "c S 1000; s R 1001; s SA 5000 1001", "AdA"},
		{"TCP-19", "c S 1000; c S 90000; s SA 5000 90001; c A 90001 5001", "AAAA"},
		{"TCP-20", "c S 1000; c FA 1001 1; c PA 1001 1 +10", "ADD"},
		{"TCP-21", "c S 1000; s A 5000 1001; s S 5000; c SA 1000 5001", "AAAA"},
		{"TCP-22", over + "c S 90000; s SA 70000 90001; c A 90001 70001", "AAAAAAAAA"},
		{"TCP-24", over + "s S 5100", "AAAAAAD"},
		{"TCP-25/allowed", open + "c S 90000; s SA 70000 90001; c A 90001 70001", "AAAAAA"},
	} {
		t.Run(tc.id, func(t *testing.T) {
			w := parse(t, tc.segments)
			v := d.fight(w)[0]
			var engine, kernel strings.Builder
			for i := range w {
				engine.WriteByte("DA"[btoi(v.engine[i])])
				kernel.WriteByte("DA"[btoi(v.kernel[i])])
			}
			require.Equal(t, strings.ToUpper(tc.want), engine.String(), "engine")
			if differs := strings.IndexByte(tc.want, 'd'); differs >= 0 { // from there on Linux goes its own way
				tc.want = tc.want[:differs] + "A"
				require.Equal(t, tc.want, kernel.String()[:differs+1], "kernel")
				return
			}
			require.Equal(t, tc.want, kernel.String(), "kernel")
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
