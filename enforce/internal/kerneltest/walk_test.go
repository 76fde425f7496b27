//go:build linux

package kerneltest

import "math/rand/v2"

// peer is one end of a connection that behaves.
type peer struct {
	first, next uint32 // of its own numbers
	heard       uint32 // what it acknowledges
	scale       int
	permit      bool
	win         uint16
	sent        bool // its SYN
	closed      bool // it has sent its FIN
}

// walker makes up the segments of one connection: two ends that behave, and a
// hand that meddles.
type walker struct {
	*rand.Rand
	ends [2]peer
	out  []segment
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// newWalk returns n segments or fewer.
func newWalk(r *rand.Rand, n int) []segment {
	w := &walker{Rand: r}
	for i := range w.ends {
		e := &w.ends[i]
		e.first = pick(r, r.Uint32(), 0, -uint32(r.IntN(3000)), 1<<31-uint32(r.IntN(3000)))
		e.next = e.first
		e.scale = pick(r, -1, 0, 1, 2, 7, 14)
		e.permit = r.IntN(3) > 0
		e.win = pick[uint16](r, 0, 1, 100, 1000, 8192, 65535)
	}
	for len(w.out) < n {
		w.step()
	}
	return w.out
}

// step adds a segment, most often one that the ends would send next.
func (w *walker) step() {
	c, s := &w.ends[0], &w.ends[1]
	from := w.IntN(2)
	switch {
	case len(w.out) > 0 && w.IntN(12) == 0: // again
		w.out = append(w.out, w.meddled(pick(w.Rand, w.out...)))
		return
	case len(w.out) > 0 && w.IntN(16) == 0:
		g := w.segment(from, pick(w.Rand, syn, syn|ack, rst, rst|ack, fin|ack, ack, psh|ack, ack|urg, fin, uint8(w.IntN(64))))
		w.out = append(w.out, w.meddled(g))
		return
	case !c.sent:
		w.say(0, syn, pick(w.Rand, 0, 0, 0, 0, 10))
		return
	case !s.sent:
		switch w.IntN(12) {
		case 0: // another attempt
			c.sent, c.first = false, c.first+pick[uint32](w.Rand, 1, 1000, 1<<20, 1<<32-1000)
			c.next = c.first
		case 1:
			w.say(1, syn, 0) // both at once
		case 2:
			w.out = append(w.out, w.segment(1, rst|ack))
		case 3:
			g := w.segment(1, ack) // from an old connection
			g.ack += uint32(w.IntN(100000))
			w.out = append(w.out, g)
			r := w.segment(0, rst)
			r.seq = g.ack
			w.out = append(w.out, r)
		default:
			s.heard = c.next
			w.say(1, syn|ack, 0)
			c.heard = s.next
			w.say(0, ack, 0)
		}
		return
	}
	me, it := &w.ends[from], &w.ends[1-from]
	if w.IntN(3) > 0 {
		me.heard = it.next
	}
	switch k := w.IntN(24); {
	case k < 10 && !me.closed:
		w.say(from, pick(w.Rand, ack, psh|ack), pick(w.Rand, 1, 10, 100, 1000, 1400))
	case k < 15:
		w.say(from, ack, 0)
	case k == 15:
		me.win = pick[uint16](w.Rand, 0, 1, 100, 1000, 8192, 65535)
	case k == 16 && !me.closed: // lost on the way, but the other tells of it
		me.next += uint32(pick(w.Rand, 1000, 3000))
		w.say(from, ack, 100)
		g := w.segment(1-from, ack)
		g.sack = [][2]uint32{{me.next - 100, me.next}}
		w.out = append(w.out, w.meddled(g))
	case k == 17: // keepalive
		g := w.segment(from, ack)
		g.seq--
		w.out = append(w.out, g)
	case k == 18 && !me.closed:
		me.closed = true
		w.say(from, fin|ack, pick(w.Rand, 0, 0, 10))
	case k == 19:
		g := w.segment(from, pick(w.Rand, rst, rst|ack))
		w.out = append(w.out, w.meddled(g))
	case k == 20 && me.closed && it.closed || k == 20 && w.IntN(6) == 0: // the port is used again
		*c = peer{first: c.next + pick[uint32](w.Rand, 0, 1, 100000, 1<<30), scale: c.scale, permit: c.permit, win: c.win}
		c.next = c.first
		*s = peer{first: pick(w.Rand, w.Uint32(), s.next), scale: s.scale, permit: s.permit, win: s.win}
		s.next = s.first
	}
}

// segment returns what an end would send with these flags, without data.
func (w *walker) segment(from int, flags uint8) segment {
	e := &w.ends[from]
	g := segment{from: from, flags: flags, seq: e.next, win: e.win, scale: -1}
	if flags&ack != 0 {
		g.ack = e.heard
	}
	if flags&syn != 0 {
		g.seq, g.scale, g.permit = e.first, e.scale, e.permit
	}
	return g
}

// say adds what an end sends next. It may come out meddled with, and then
// again as it should be.
func (w *walker) say(from int, flags uint8, data int) {
	e := &w.ends[from]
	g := w.segment(from, flags)
	g.data = data
	if flags&syn != 0 {
		e.sent = true
	}
	if w.IntN(6) == 0 {
		w.out = append(w.out, w.meddled(g))
		if w.IntN(4) == 0 {
			return // and is lost
		}
	}
	w.out = append(w.out, g)
	if end := g.end(); int32(end-e.next) > 0 {
		e.next = end
	}
}

// end returns the number behind s.
func (s segment) end() uint32 {
	end := s.seq + uint32(s.data)
	if s.flags&syn != 0 {
		end++
	}
	if s.flags&fin != 0 {
		end++
	}
	return end
}

// meddled returns s with a number or two changed.
func (w *walker) meddled(s segment) segment {
	win := uint32(s.win)
	off := func() uint32 {
		n := pick(w.Rand, 1, 2, 100, 1000, win, win+1, 2*win, 66000, 66001, 65536, 1<<17, 1<<20, 1<<30, 1<<31-1, 1<<31, w.Uint32())
		if w.IntN(2) == 0 {
			return -n
		}
		return n
	}
	for range 1 + w.IntN(2) {
		switch w.IntN(8) {
		case 0, 1, 2:
			s.seq += off()
		case 3, 4:
			s.ack += off()
		case 5:
			s.win = pick[uint16](w.Rand, 0, 1, 8192, 65535)
		case 6:
			s.data = pick(w.Rand, 0, 1, 500, 1400)
		case 7:
			s.sack = [][2]uint32{{s.ack + off(), s.ack + off()}}
		}
	}
	return s
}
