package main

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

func TestMedianAndSpread(t *testing.T) {
	for _, c := range []struct {
		v              []float64
		median, spread float64
	}{
		{nil, 0, 0}, {[]float64{3, 1, 2}, 2, 50}, {[]float64{4, 1, 3, 2}, 2.5, 60}, {[]float64{0, 0}, 0, 0},
	} {
		if m, s := median(c.v), spread(c.v); m != c.median || s != c.spread {
			t.Errorf("%v: median %v, spread %v", c.v, m, s)
		}
	}
}

// TestRatios: a ratio is of one round, and the median comes after.
func TestRatios(t *testing.T) {
	var s series
	for round, v := range [][2]float64{{10, 1}, {20, 10}, {90, 10}} {
		s = append(s, sample{round + 1, "t", "a", value{perOp, v[0]}}, sample{round + 1, "t", "b", value{perOp, v[1]}})
	}
	got := s.ratios(key{"t", "a", perOp}, key{"t", "b", perOp})
	if !slices.Equal(got, []float64{10, 2, 9}) || median(got) != 9 {
		t.Errorf("ratios %v", got)
	}
	if got := s.ratios(key{"t", "a", perOp}, key{"t", "c", perOp}); got != nil {
		t.Errorf("ratios to nobody: %v", got)
	}
}

// TestDifferences: a difference is of one round, and none is less than nothing.
func TestDifferences(t *testing.T) {
	var s series
	for round, v := range [][2]float64{{10, 1}, {20, 30}} {
		s = append(s, sample{round + 1, "t", "a", value{perOp, v[0]}}, sample{round + 1, "t", "b", value{perOp, v[1]}})
	}
	if got := s.differences(key{"t", "a", perOp}, key{"t", "b", perOp}); !slices.Equal(got, []float64{9, 0}) {
		t.Errorf("differences %v", got)
	}
}

func TestShort(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 0.001: "<0.01", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234: "1,234", 1234567: "1,234,567",
	} {
		if got := short(f); got != want {
			t.Errorf("%v: %q, not %q", f, got, want)
		}
	}
}

// TestRotation: in every round each contestant has its turn, in another order,
// and all of them are closed.
func TestRotation(t *testing.T) {
	var order []string
	open := 0
	tr := trial{name: "t"}
	for _, name := range []string{"a", "b", "c"} {
		tr.contestants = append(tr.contestants, contestant{name, func() (meter, error) {
			open++
			return &fakeMeter{func() { order = append(order, name) }, func() { open-- }}, nil
		}})
	}
	r := runner{rounds: 3, progress: io.Discard}
	s, err := r.run([]trial{tr})
	if err != nil || open != 0 {
		t.Fatalf("%v; %d left open", err, open)
	}
	if !slices.Equal(order, []string{"a", "b", "c", "b", "c", "a", "c", "a", "b"}) {
		t.Errorf("order %v", order)
	}
	if got := series(s).values(key{"t", "b", perOp}); len(got) != 3 {
		t.Errorf("values %v", got)
	}
	tr.contestants = append(tr.contestants, contestant{"d", func() (meter, error) { return nil, errors.New("no") }})
	if _, err := r.run([]trial{tr}); err == nil || open != 0 {
		t.Errorf("a contestant that can not be opened: %v; %d left open", err, open)
	}
}

type fakeMeter struct{ now, end func() }

func (m *fakeMeter) measure(time.Duration) ([]value, error) {
	m.now()
	return []value{{perOp, 1}}, nil
}

func (m *fakeMeter) close() { m.end() }

// TestStepper: operations are counted, preparation is not timed, and an error
// ends it.
func TestStepper(t *testing.T) {
	p := &fakeProbe{}
	s := &stepper{probe: p, unit: perOp, size: 2, max: 8}
	v, err := s.measure(time.Millisecond)
	if err != nil || len(v) != 2 || v[0].unit != perOp || v[0].of <= 0 || v[1].of < 0.9 || v[1].of > 1.5 {
		t.Errorf("%v, %v, with one allocation per operation", v, err)
	}
	if p.most > 8 || p.steps == 0 {
		t.Errorf("%d steps of up to %d", p.steps, p.most)
	}
	p.err = errors.New("fault")
	if _, err := s.measure(time.Millisecond); err != p.err {
		t.Errorf("the fault is %v", err)
	}
	if _, err := (&stepper{probe: &fakeProbe{empty: true}}).measure(time.Millisecond); err == nil {
		t.Error("nothing to do, and no error")
	}
}

type fakeProbe struct {
	empty       bool
	steps, most int
	err         error
	kept        []*[64]byte
}

func (p *fakeProbe) prepare(n int) int {
	if p.empty {
		return 0
	}
	p.kept = make([]*[64]byte, n)
	return n
}

func (p *fakeProbe) step(n int) error {
	p.steps, p.most = p.steps+1, max(p.most, n)
	for i := range n {
		p.kept[i] = new([64]byte)
	}
	return p.err
}

func (p *fakeProbe) close() {}
