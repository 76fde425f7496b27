package kerneltest

import (
	_ "embed"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
)

// differencesFile is where every difference has its shortest walk.
const differencesFile = "testdata/differences.txt"

// recorded is that file.
//
//go:embed testdata/differences.txt
var recorded string

// examples are the shortest walks so far, by the name of the difference.
type examples map[string]string

func (e examples) add(name, text string) {
	if old, ok := e[name]; !ok || len(text) < len(old) {
		e[name] = text
	}
}

// parseExamples reads what text writes.
func parseExamples(s string) examples {
	e := examples{}
	for _, section := range strings.Split("\n"+s, "\n## ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		e[name] = strings.TrimSpace(text) + "\n"
	}
	return e
}

func (e examples) text() string {
	var s strings.Builder
	s.WriteString("# The shortest walk that was found to every difference between the engine and\n# Linux: see doc.go, and trial.text for the format.\n")
	for _, name := range slices.Sorted(maps.Keys(e)) {
		fmt.Fprintf(&s, "\n## %s\n%s", name, e[name])
	}
	return s.String()
}

// write makes the file anew: of the examples in it those that still are, and e
// where it is shorter.
func (e examples) write(j *judge) error {
	all := examples{}
	for name, text := range parseExamples(recorded) {
		if now, _, err := j.play(text); err != nil {
			return err
		} else if now == name {
			all.add(name, text)
		}
	}
	for name, text := range e {
		all.add(name, text)
	}
	return os.WriteFile(differencesFile, []byte(all.text()), 0o644)
}

// play plays an example and returns the name of the first difference, "" if
// there is none, and all as text.
func (j *judge) play(text string) (name, now string, err error) {
	tr, _, err := parseTrial(text)
	if err != nil {
		return "", "", err
	}
	r := j.judge([]trial{tr})[0]
	for k := range tr.steps {
		if (r.engine[k].Action == sg.Accept) != r.kernel[k] {
			return j.look(tr, r, k).name(), tr.text(&r), nil
		}
	}
	return "", tr.text(&r), nil
}

// TestDifferences plays the shortest walk to every difference. One that is no
// more goes out of the file and out of the table.
func TestDifferences(t *testing.T) {
	j := newJudge(t)
	for name, text := range parseExamples(recorded) {
		t.Run(name, func(t *testing.T) {
			is, now, err := j.play(text)
			require.NoError(t, err)
			require.Equal(t, name, is, now)
			tr, want, err := parseTrial(text)
			require.NoError(t, err)
			require.Equal(t, want, j.verdicts(tr), "kernel and engine, by packet:\n%s", now)
			tr.batch = !tr.batch
			require.Equal(t, want, j.verdicts(tr), "batch %v", tr.batch)
		})
	}
}

// TestExamples: every difference of the tables has an example.
func TestExamples(t *testing.T) {
	have := parseExamples(recorded)
	for _, d := range slices.Concat(differences, consequences) {
		require.NotEmpty(t, have[d.name], d.name)
	}
}

// verdicts plays tr.
func (j *judge) verdicts(tr trial) (out []string) {
	r := j.judge([]trial{tr})[0]
	for k := range tr.steps {
		out = append(out, r.verdicts(k))
	}
	return out
}

// TestText: a walk that was written down is the same when it is read.
func TestText(t *testing.T) {
	for name, text := range parseExamples(recorded) {
		t.Run(name, func(t *testing.T) {
			tr, want, err := parseTrial(text)
			require.NoError(t, err)
			for i, s := range tr.steps {
				b, err := unzip(zip(s.b))
				require.NoError(t, err)
				require.Equal(t, s.b, b, i)
				require.Len(t, want[i], 2)
			}
			for _, p := range tr.policies {
				for _, r := range p {
					again, err := parseRule(r.String())
					require.NoError(t, err)
					require.Equal(t, r, again)
				}
			}
		})
	}
}
