package enforce_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// delivered is what came through of a datagram: pieces by where they lie.
type delivered struct {
	pieces []delivery
	end    int // of the whole, once its last piece came through
}

type delivery struct {
	from, to int
	b        []byte
}

func (d *delivered) complete() bool {
	sum, seen := 0, map[[2]int]bool{}
	for _, p := range d.pieces {
		if k := [2]int{p.from, p.to}; !seen[k] {
			seen[k] = true
			sum += p.to - p.from
		}
	}
	return d.end != 0 && sum == d.end
}

// fragmentsProperty: whatever pieces come in whatever order, and with what they
// contradict, no datagram is delivered in which a receiver could see other bytes
// at its head than those that were judged: pieces are equal in place or apart,
// and first ones are equal byte for byte, unless the datagram before was whole.
func fragmentsProperty(t testing.TB, rt *rapid.T) {
	f := rapid.SampledFrom(families()).Draw(rt, "family")
	b := holding(t, enforce.HoldOptions{Fragments: rapid.IntRange(0, 8).Draw(rt, "room")})
	const size = 64
	var versions [3][]byte // two that are allowed, one that is not
	for i := range versions {
		versions[i] = udp(at(f.peer, "4000"), at(f.local, []string{"53", "53", "54"}[i]), size-8)
		head := len(versions[i]) - size
		for k := 8; k < size; k++ {
			versions[i][head+k] = byte(k * (i + 3))
		}
	}
	got := map[uint16]*delivered{1: {}, 2: {}}
	note := func(id uint16, p []byte) {
		d := got[id]
		head := 20
		if f.name == "ipv6" {
			head = 48
		}
		word := uint16(p[6])<<8 | uint16(p[7])
		from, more := int(word&0x1fff)*8, word&0x2000 != 0
		if f.name == "ipv6" {
			word = uint16(p[42])<<8 | uint16(p[43])
			from, more = int(word&^7), word&1 != 0
		}
		x := delivery{from, from + len(p) - head, p[head:]}
		if from == 0 && d.complete() && !bytes.Equal(d.first(), x.b) {
			*d = delivered{} // its number is used again
		}
		if from == 0 && x.b[3] != 53 {
			rt.Fatalf("a first piece that no rule allows")
		}
		for _, o := range d.pieces {
			same := o.from == x.from && o.to == x.to
			if !same && o.from < x.to && x.from < o.to {
				rt.Fatalf("delivered %d..%d over %d..%d", x.from, x.to, o.from, o.to)
			}
			if same && from == 0 && !bytes.Equal(o.b, x.b) {
				rt.Fatalf("two heads")
			}
		}
		if !more {
			if d.end != 0 && d.end != x.to {
				rt.Fatalf("two ends, %d and %d", d.end, x.to)
			}
			d.end = x.to
		}
		d.pieces = append(d.pieces, x)
	}
	take := func() {
		for _, p := range b.released(sg.Ingress) {
			id := uint16(p[4])<<8 | uint16(p[5])
			if f.name == "ipv6" {
				id = uint16(p[46])<<8 | uint16(p[47])
			}
			note(id, p)
		}
	}
	for range rapid.IntRange(1, 24).Draw(rt, "pieces") {
		id := uint16(rapid.IntRange(1, 2).Draw(rt, "id"))
		whole := rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(rt, "version")
		from := 8 * rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 4, 6}).Draw(rt, "from")
		to := min(size, from+8*rapid.SampledFrom([]int{1, 2, 2, 2, 4, 8}).Draw(rt, "length"))
		more := to != size
		if rapid.IntRange(0, 9).Draw(rt, "lie") == 0 {
			more = !more
		}
		if from == 0 && !more { // no fragment
			continue
		}
		p := fragment(versions[whole], from, to, id, more)
		if b.Port("i").Filter(sg.Ingress, p).Action == sg.Accept {
			note(id, p)
		}
		take()
	}
}

// first is the head that was delivered, nil if none.
func (d *delivered) first() []byte {
	for _, p := range d.pieces {
		if p.from == 0 {
			return p.b
		}
	}
	return nil
}

func TestFragments(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { fragmentsProperty(t, rt) })
}

// FuzzFragments is TestFragments under the fuzzer.
func FuzzFragments(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		rapid.MakeFuzz(func(rt *rapid.T) { fragmentsProperty(t, rt) })(t, b)
	})
}
