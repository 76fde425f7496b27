package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func someSeries() *series {
	s := &series{names: []string{"filter", baseline, "absent"}, titles: []string{"With <1,000> rules", "None", "Absent"}}
	for round, f := range []float64{3, 1, 2} {
		s.all = append(s.all,
			measurement{name: "filter", round: round, gbits: f, nsPerKB: 100 * f, kpps: 10 * f, nsPerPacket: 1000 * f},
			measurement{name: baseline, round: round, gbits: 2 * f, nsPerKB: 100 * f, kpps: 10, nsPerPacket: 500})
	}
	return s
}

func TestMedian(t *testing.T) {
	require.Zero(t, median(nil))
	require.Equal(t, 2.0, median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, median([]float64{4, 1, 3, 2}))
}

func TestTable(t *testing.T) {
	require.Equal(t, `| | TCP Gbit/s | gateway CPU ns/KB | small UDP kpps | gateway CPU ns/packet |
| --- | --- | --- | --- | --- |
| With <1,000> rules | **2.00** [1.00–3.00] ×0.50 | **200** [100–300] ×1.00 | **20.0** [10.0–30.0] ×2.00 | **2000** [1000–3000] ×4.00 |
| None | **4.00** [2.00–6.00] | **200** [100–300] | **10.0** [10.0–10.0] | **500** [500–500] |
| Absent | – | – | – | – |
`, someSeries().table())
}

func TestCSV(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(someSeries().csv()), "\n")
	require.Len(t, lines, 7)
	require.Equal(t, "round,gateway,tcp_gbit_per_s,cpu_ns_per_kb,udp_kpps,cpu_ns_per_packet", lines[0])
	require.Equal(t, "1,filter,3.000,300.000,30.000,3000.000", lines[1])
}

// The chart is well-formed and has a bar for everything measured.
func TestSVG(t *testing.T) {
	svg := someSeries().svg()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.Equal(t, 1+2*len(columns()), strings.Count(svg, "<rect"))
	require.Contains(t, svg, "With &lt;1,000&gt; rules")
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	s, about := someSeries(), about(3, time.Second)
	require.Error(t, s.save(dir, about))
	readme := filepath.Join(dir, "README.md")
	require.NoError(t, os.WriteFile(readme, []byte("# no marks\n"), 0o644))
	require.ErrorContains(t, s.save(dir, about), "marks")
	require.NoError(t, os.WriteFile(readme, []byte("# head\n"+beginTable+"old"+endTable+"\ntail\n"), 0o644))
	for range 2 { // again changes nothing
		require.NoError(t, s.save(dir, about))
		got, err := os.ReadFile(readme)
		require.NoError(t, err)
		require.Equal(t, "# head\n"+beginTable+"\n\n"+about+s.table()+"\n![bars](results/results.svg)\n\n"+endTable+"\ntail\n", string(got))
	}
	csv, err := os.ReadFile(filepath.Join(dir, "results", "results.csv"))
	require.NoError(t, err)
	require.Equal(t, s.csv(), string(csv))
}

// The README of this directory has the marks.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, err = inReadme(string(b), "")
	require.NoError(t, err)
}
