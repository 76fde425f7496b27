package enforce_test

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// cut makes fragments of a packet, each with size bytes of its payload but the
// last.
func cut(b []byte, size int, id uint16) (out [][]byte) {
	head := 20
	if b[0]>>4 == 6 {
		head = 40
	}
	for at := head; at < len(b); at += size {
		out = append(out, fragment(b, at-head, min(at-head+size, len(b)-head), id, at+size < len(b)))
	}
	return out
}

// fragment makes the fragment of a packet that carries bytes from..to of its
// payload.
func fragment(b []byte, from, to int, id uint16, more bool) []byte {
	flag := map[bool]uint16{true: 1}[more]
	if b[0]>>4 == 4 {
		f := append(slices.Clone(b[:20]), b[20+from:20+to]...)
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		binary.BigEndian.PutUint16(f[4:], id)
		binary.BigEndian.PutUint16(f[6:], flag<<13|uint16(from/8))
		f[10], f[11] = 0, 0
		sum := uint32(0)
		for i := 0; i < 20; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(f[i:]))
		}
		sum = sum>>16 + sum&0xffff
		binary.BigEndian.PutUint16(f[10:], ^uint16(sum>>16+sum))
		return f
	}
	f := append(slices.Clone(b[:40]), b[6], 0, byte(from>>8), byte(from)|byte(flag), 0, 0, byte(id>>8), byte(id))
	f[6] = 44
	f = append(f, b[40+from:40+to]...)
	binary.BigEndian.PutUint16(f[4:], uint16(len(f)-40))
	return f
}

// released takes all that a port releases.
func (b *bench) released(d sg.Direction) (out [][]byte) {
	buf := make([]byte, 65535)
	for {
		n, v := b.Port("i").Release(d, buf)
		if n == 0 {
			return out
		}
		require.Equal(b.t, ir.Verdict{Action: sg.Accept, Reason: ir.ReasonFragment, Rule: v.Rule}, v)
		out = append(out, slices.Clone(buf[:n]))
	}
}

func (b *bench) drop(r ir.Reason) uint64 {
	for reason, n := range b.Drops() {
		if reason == r {
			return n
		}
	}
	return 0
}

func holding(t testing.TB, o enforce.HoldOptions) *bench {
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate),
		group("web", both("dns", sg.Ingress, sg.UDP, 53), both("ask", sg.Egress, sg.UDP, 53)), nic("i", "web"))
	b.Port("i").Hold(o)
	return b
}

const kept = "drop fragment_held"

func TestHold(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		good := udp(at(f.peer, "4000"), at(f.local, "53"), 4000)
		bad := udp(at(f.peer, "4000"), at(f.local, "54"), 4000)
		t.Run("backwards", func(t *testing.T) {
			b := holding(t, enforce.HoldOptions{Fragments: 8})
			p := cut(good, 1400, 1)
			require.Equal(t, kept, b.in(p[2]))
			require.Equal(t, kept, b.in(p[1]))
			require.Empty(t, b.released(sg.Ingress))
			require.Contains(t, b.in(p[0]), "accept rule web/dns")
			require.Empty(t, b.released(sg.Egress), "of the other direction")
			require.Equal(t, [][]byte{p[2], p[1]}, b.released(sg.Ingress))
			require.Contains(t, b.in(p[1]), "accept fragment web/dns", "a duplicate")
			require.Zero(t, b.drop(ir.ReasonFragment)+b.drop(ir.ReasonFragmentHeld))
			require.EqualValues(t, 4, b.counter("web/dns-"+f.name[len("ipv"):]).Packets)
		})
		t.Run("refused", func(t *testing.T) {
			b := holding(t, enforce.HoldOptions{Fragments: 8})
			p := cut(bad, 1400, 1)
			require.Equal(t, kept, b.in(p[1]))
			require.Equal(t, "drop no_rule", b.in(p[0]))
			require.Empty(t, b.released(sg.Ingress))
			require.Equal(t, "drop fragment", b.in(p[2]))
			require.EqualValues(t, 2, b.drop(ir.ReasonFragment))
			require.Equal(t, "denied denied denied", b.kinds())
		})
		t.Run("out", func(t *testing.T) {
			b := holding(t, enforce.HoldOptions{Fragments: 8})
			p := cut(udp(at(f.local, "4000"), at(f.peer, "53"), 2000), 1400, 1)
			require.Equal(t, kept, b.out(p[1]))
			require.Contains(t, b.out(p[0]), "accept rule")
			require.Equal(t, [][]byte{p[1]}, b.released(sg.Egress))
		})
		t.Run("FRAG-16 of others", func(t *testing.T) {
			b := holding(t, enforce.HoldOptions{Fragments: 8})
			p, q := cut(good, 1400, 1), cut(good, 1400, 2)
			far := cut(udp(at(f.far, "4000"), at(f.local, "53"), 4000), 1400, 1)
			require.Equal(t, kept, b.in(p[1]))
			b.in(q[0])
			b.in(far[0])
			require.Empty(t, b.released(sg.Ingress))
			b.in(p[0])
			require.Equal(t, [][]byte{p[1]}, b.released(sg.Ingress))
		})
		t.Run("FRAG-03 overlap", func(t *testing.T) {
			b := holding(t, enforce.HoldOptions{Fragments: 8})
			p := cut(good, 1400, 1)
			require.Equal(t, kept, b.in(p[2]))
			require.Equal(t, kept, b.in(p[1]))
			require.Equal(t, kept, b.in(fragment(good, 1392, 2800, 1, true)))
			require.Equal(t, "drop fragment", b.in(p[0]))
			require.Empty(t, b.released(sg.Ingress))
			require.EqualValues(t, 4, b.drop(ir.ReasonFragment))
			require.Zero(t, b.Table().Len(), "no connection by a datagram that is not delivered")
		})
		t.Run("FRAG-04 duplicate", func(t *testing.T) {
			b := holding(t, enforce.HoldOptions{Fragments: 8})
			p := cut(good, 1400, 1)
			b.in(p[1])
			b.in(p[1])
			b.in(p[0])
			require.Equal(t, [][]byte{p[1], p[1]}, b.released(sg.Ingress))
		})
		t.Run("time", func(t *testing.T) {
			b := holding(t, enforce.HoldOptions{Fragments: 2, Timeout: time.Second})
			p := cut(good, 1400, 1)
			b.in(p[1])
			b.sleep(time.Second - 1)
			b.in(p[2])
			b.sleep(1)
			b.in(p[0])
			require.Equal(t, [][]byte{p[2]}, b.released(sg.Ingress), "the other one is a second old")
			require.EqualValues(t, 1, b.drop(ir.ReasonFragment))
			// What is released and never taken goes too, and a clock that was set back by years keeps nothing for years.
			q := cut(good, 1400, 2)
			b.in(q[1])
			b.in(q[0])
			b.sleep(-10 * 365 * 24 * time.Hour)
			r := cut(good, 1400, 3)
			require.Equal(t, kept, b.in(r[1]))
			b.sleep(time.Second)
			require.Equal(t, kept, b.in(cut(good, 1400, 4)[1]))
			require.Empty(t, b.released(sg.Ingress))
		})
		t.Run("count", func(t *testing.T) {
			b := holding(t, enforce.HoldOptions{Fragments: 2})
			for i, want := range []string{kept, kept, "drop fragment", "drop fragment"} {
				require.Equal(t, want, b.in(cut(good, 1400, uint16(i))[1]))
			}
			b.in(cut(good, 1400, 0)[0])
			require.Equal(t, "drop fragment", b.in(cut(good, 1400, 7)[1]), "not before it is taken")
			require.Len(t, b.released(sg.Ingress), 1)
			require.Equal(t, kept, b.in(cut(good, 1400, 7)[1]))
		})
		t.Run("bytes", func(t *testing.T) {
			b := holding(t, enforce.HoldOptions{Fragments: 8, Bytes: 4096})
			require.Equal(t, kept, b.in(cut(good, 1400, 1)[1]))
			require.Equal(t, kept, b.in(cut(good, 1400, 2)[1]))
			require.Equal(t, "drop fragment", b.in(cut(good, 1400, 3)[1]))
			require.Equal(t, kept, b.in(cut(good, 3200, 4)[1]), "there is room for a small one")
			b.in(cut(good, 1400, 1)[0])
			require.Len(t, b.released(sg.Ingress), 1)
			require.Equal(t, kept, b.in(cut(good, 1400, 3)[1]))
		})
		t.Run("short buffer", func(t *testing.T) {
			b := holding(t, enforce.HoldOptions{Fragments: 8})
			p := cut(good, 1400, 1)
			b.in(p[1])
			b.in(p[0])
			buf := make([]byte, 100)
			n, _ := b.Port("i").Release(sg.Ingress, buf)
			require.Equal(t, len(p[1]), n)
			require.Equal(t, make([]byte, 100), buf)
			require.Empty(t, b.released(sg.Ingress))
		})
		t.Run("off", func(t *testing.T) {
			b := holding(t, enforce.HoldOptions{})
			require.Equal(t, "drop fragment", b.in(cut(good, 1400, 1)[1]))
			require.Empty(t, b.released(sg.Ingress))
			b.Port("i").Hold(enforce.HoldOptions{Fragments: 1})
			require.Equal(t, kept, b.in(cut(good, 1400, 2)[1]))
			b.Port("i").Hold(enforce.HoldOptions{})
			b.in(cut(good, 1400, 2)[0])
			require.Empty(t, b.released(sg.Ingress))
		})
		t.Run("interfaces", func(t *testing.T) {
			b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", both("dns", sg.Ingress, sg.UDP, 53)), nic("i", "web"), nic("j", "web"))
			b.Port("i").Hold(enforce.HoldOptions{Fragments: 1})
			b.Port("j").Hold(enforce.HoldOptions{Fragments: 1})
			p := cut(good, 1400, 1)
			require.Equal(t, kept, b.in(p[1]))
			require.Equal(t, ir.ReasonFragmentHeld, b.Port("j").Filter(sg.Ingress, p[2]).Reason, "room of its own")
			require.Equal(t, sg.Accept, b.Port("j").Filter(sg.Ingress, p[0]).Action)
			require.Empty(t, b.released(sg.Ingress), "FRAG-16: no licence on another interface")
		})
	})
}

// TestHoldProperty: whatever the order in which the fragments of some datagrams
// come, and however they are taken, what is delivered is what is delivered in
// order, byte for byte, and nothing of a refused datagram is.
func TestHoldProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := rapid.SampledFrom(families()).Draw(rt, "family")
		b := holding(t, enforce.HoldOptions{Fragments: 64, Bytes: 1 << 20})
		var all [][]byte
		want := map[string]int{}
		for id := range rapid.IntRange(1, 4).Draw(rt, "datagrams") {
			allowed := rapid.Bool().Draw(rt, "allowed")
			whole := udp(at(f.peer, "4000"), at(f.local, map[bool]string{true: "53", false: "54"}[allowed]), rapid.IntRange(20, 6000).Draw(rt, "size"))
			for i := range whole[48:] {
				whole[48+i] = byte(i * (id + 3))
			}
			for _, p := range cut(whole, 8*rapid.IntRange(60, 180).Draw(rt, "step"), uint16(id)) {
				all = append(all, p)
				if allowed {
					want[string(p)]++
				}
			}
		}
		got := map[string]int{}
		for _, p := range rapid.Permutation(all).Draw(rt, "order") {
			if b.Port("i").Filter(sg.Ingress, p).Action == sg.Accept {
				got[string(p)]++
			}
			if rapid.Bool().Draw(rt, "take") {
				for _, q := range b.released(sg.Ingress) {
					got[string(q)]++
				}
			}
		}
		for _, q := range b.released(sg.Ingress) {
			got[string(q)]++
		}
		if !maps.Equal(got, want) {
			rt.Fatalf("%d of %d delivered", len(got), len(want))
		}
	})
}

// TestHoldConcurrent is for the race detector: two goroutines send, one half
// each of all datagrams, and one takes; nothing is lost.
func TestHoldConcurrent(t *testing.T) {
	const n = 500
	b := holding(t, enforce.HoldOptions{Fragments: 256, Timeout: time.Hour})
	f := families()[0]
	whole := udp(at(f.peer, "4000"), at(f.local, "53"), 600)
	var mu sync.Mutex
	passed := 0
	take := func(buf []byte) {
		for {
			k, _ := b.Port("i").Release(sg.Ingress, buf)
			if k == 0 {
				return
			}
			mu.Lock()
			passed++
			mu.Unlock()
		}
	}
	// At most a few datagrams apart, so that the bounds are never met.
	var turn [2]chan struct{}
	for i := range turn {
		turn[i] = make(chan struct{}, 32)
	}
	var all sync.WaitGroup
	for half := range 2 {
		all.Go(func() {
			buf := make([]byte, 2000)
			for id := range n {
				p := cut(whole, 400, uint16(id))[half]
				if b.Port("i").Filter(sg.Ingress, p).Action == sg.Accept {
					mu.Lock()
					passed++
					mu.Unlock()
				}
				take(buf)
				turn[half] <- struct{}{}
				<-turn[1-half]
			}
		})
	}
	all.Wait()
	take(make([]byte, 2000))
	require.Equal(t, 2*n, passed)
}
