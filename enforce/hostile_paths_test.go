package enforce_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/internal/hostiletest"
	"example.com/secgroup/enforce/tun"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// judge is a way to put packets to an engine. It returns for each step whether
// the packet passed.
type judge func(t *testing.T, e *enforce.Engine, steps []hostiletest.Step, verdict func(i int, v ir.Verdict))

// TestHostile puts every packet case of the threat catalogue to the engine
// packet by packet, in batches, and through a filtered TUN device.
func TestHostile(t *testing.T) {
	for name, j := range map[string]judge{"single": single, "batch": batched, "tun": throughTUN} {
		t.Run(name, func(t *testing.T) {
			for _, c := range hostiletest.Cases() {
				t.Run(c.Name(), func(t *testing.T) { playHostile(t, c, j) })
			}
		})
	}
}

func hostileEngine() *enforce.Engine {
	return enforce.NewEngine(enforce.Options{
		Checksums: enforce.ChecksumsAll,
		Conntrack: conntrack.Options{MaxEntries: 64, Shards: 1, MaxFragments: 16},
		Now:       func() time.Time { return time.Unix(1_000_000, 0) },
	})
}

func playHostile(t *testing.T, c hostiletest.Case, j judge) {
	e := hostileEngine()
	var compiler compile.Compiler
	policies := c.Policies
	next := func() {
		s, err := policy.Build(policies[0].Profile, policies[0].Changes...)
		require.NoError(t, err)
		m, err := compiler.Reset(s)
		require.NoError(t, err)
		require.NoError(t, e.Apply(t.Context(), m))
		policies = policies[1:]
	}
	next()
	got := make([]byte, len(c.Steps))
	reasons := make([]string, len(c.Steps))
	for from := 0; from < len(c.Steps); {
		if c.Steps[from].Swap {
			next()
		}
		to := from + 1
		for to < len(c.Steps) && !c.Steps[to].Swap {
			to++
		}
		j(t, e, c.Steps[from:to], func(i int, v ir.Verdict) {
			got[from+i] = letter(v.Action == sg.Accept)
			reasons[from+i] = v.Reason.String()
		})
		from = to
	}
	want := make([]byte, len(c.Steps))
	for i := range c.Steps {
		want[i] = letter(c.Steps[i].Accept())
	}
	require.Equal(t, string(want), string(got), "%v", reasons)
}

func letter(accept bool) byte {
	if accept {
		return 'A'
	}
	return 'D'
}

func single(_ *testing.T, e *enforce.Engine, steps []hostiletest.Step, verdict func(int, ir.Verdict)) {
	for i, s := range steps {
		verdict(i, e.Port(s.Interface).Filter(s.Direction, s.Packet))
	}
}

// batched puts neighbours of one interface and direction into one batch.
func batched(_ *testing.T, e *enforce.Engine, steps []hostiletest.Step, verdict func(int, ir.Verdict)) {
	for from := 0; from < len(steps); {
		to := from + 1
		for to < len(steps) && steps[to].Interface == steps[from].Interface && steps[to].Direction == steps[from].Direction {
			to++
		}
		var pkts [][]byte
		for _, s := range steps[from:to] {
			pkts = append(pkts, s.Packet)
		}
		out := make([]ir.Verdict, len(pkts))
		e.Port(steps[from].Interface).FilterBatch(steps[from].Direction, pkts, out)
		for i, v := range out {
			verdict(from+i, v)
		}
		from = to
	}
}

// errEmpty is what a plainDevice returns where a real one would wait.
var errEmpty = errors.New("no more packets")

// plainDevice is a device that has one packet to read, and keeps what is written.
type plainDevice struct {
	next    []byte
	written [][]byte
}

func (d *plainDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	if d.next == nil {
		return 0, errEmpty
	}
	sizes[0] = copy(bufs[0][offset:], d.next)
	d.next = nil
	return 1, nil
}

func (d *plainDevice) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		d.written = append(d.written, slices.Clone(b[offset:]))
	}
	return len(bufs), nil
}

func (*plainDevice) BatchSize() int { return 1 }
func (*plainDevice) Close() error   { return nil }

func throughTUN(t *testing.T, e *enforce.Engine, steps []hostiletest.Step, verdict func(int, ir.Verdict)) {
	for i, s := range steps {
		d := &plainDevice{}
		f := tun.New(d, e.Port(s.Interface), tun.FilterOptions{})
		var v ir.Verdict
		if s.Direction == sg.Ingress {
			n, err := f.Write([][]byte{s.Packet}, 0)
			require.NoError(t, err)
			require.Equal(t, 1, n)
			if len(d.written) == 1 {
				v.Action = sg.Accept
				require.Equal(t, s.Packet, d.written[0])
			}
		} else {
			d.next = s.Packet
			bufs, sizes := [][]byte{make([]byte, 2048)}, make([]int, 1)
			n, err := f.Read(bufs, sizes, 0)
			if n == 1 {
				v.Action = sg.Accept
				require.Equal(t, s.Packet, bufs[0][:sizes[0]])
			} else {
				require.ErrorIs(t, err, errEmpty)
			}
		}
		verdict(i, v)
	}
}
