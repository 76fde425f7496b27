package conntrack

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/conntrack/packet"
)

// TestICMPTypes: what every type of both protocols may be, and what it asks.
func TestICMPTypes(t *testing.T) {
	type is struct {
		c     class
		query uint8
	}
	v4 := map[uint8]is{
		0: {classAnswer, 8}, 8: {classOpener, 8}, 13: {classOpener, 13}, 14: {classAnswer, 13}, 15: {classOpener, 15}, 16: {classAnswer, 15},
		17: {classOpener, 17}, 18: {classAnswer, 17},
		3: {classError, 0}, 4: {classError, 0}, 5: {classError, 0}, 11: {classError, 0}, 12: {classError, 0},
	}
	for n := range 256 {
		typ := uint8(n)
		want, ok := v4[typ]
		if !ok {
			want = is{classOther, 0}
		}
		six := is{classOther, 0}
		switch {
		case typ < 128:
			six = is{classError, 0}
		case typ <= 129:
			six = is{classOpener + class(typ-128), 128}
		}
		for _, family := range []uint8{4, 6} {
			for _, proto := range []uint8{packet.ProtoICMP, packet.ProtoICMPv6} {
				var got is
				got.c, got.query = classifyICMP(proto, family, typ)
				switch {
				case (proto == packet.ProtoICMP) != (family == 4):
					require.Equal(t, is{}, got, "%d", typ)
				case family == 4:
					require.Equal(t, want, got, "%d", typ)
				default:
					require.Equal(t, six, got, "%d", typ)
				}
			}
		}
	}
}

// TestQuotedSequence is ICMP-15 against plain counting: an error about a segment
// is related if it quotes a number from a window before what was acknowledged
// up to what was sent, wherever the numbers begin.
func TestQuotedSequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const in, out = inside + ":4000", outside + ":80"
		names := [2]string{in, out}
		g := newGate()
		base := [2]uint32{rapid.Uint32().Draw(t, "client"), rapid.Uint32().Draw(t, "server")}
		win := [2]uint16{rapid.Uint16Range(1, 65535).Draw(t, "client window"), rapid.Uint16Range(1, 65535).Draw(t, "server window")}
		said, acked := [2]int64{1, 1}, [2]int64{1, 1} // from the first number on; acked by the other end
		send := func(from int, flags string, seq, ack int64, data uint32) {
			p := seg(names[from], names[1-from], flags, base[from]+uint32(seq), base[1-from]+uint32(ack), data, win[from])
			if flags == "S" {
				p.Ack, p.SACK = 0, 0
			}
			if g.from([2]Side{Local, Remote}[from], p) != "A" {
				t.Fatalf("%d %s %d %d +%d", from, flags, seq, ack, data)
			}
		}
		send(0, "S", 0, 0, 0)
		send(1, "SA", 0, 1, 0)
		send(0, "A", 1, 1, 0)
		for range rapid.IntRange(0, 6).Draw(t, "segments") {
			from := rapid.IntRange(0, 1).Draw(t, "from")
			room := acked[from] + int64(win[1-from]) - said[from]
			data := rapid.Int64Range(0, min(room, 1400)).Draw(t, "data")
			ack := rapid.Int64Range(acked[1-from], said[1-from]).Draw(t, "ack")
			send(from, "PA", said[from], ack, uint32(data))
			said[from] += data
			acked[1-from] = ack
		}
		from := rapid.IntRange(0, 1).Draw(t, "quoted")
		first := acked[from] - int64(win[1-from])
		n := rapid.SampledFrom([]int64{first - 1, first, first + 1, acked[from], said[from], said[from] + 1, said[from] + 1<<30, first - 1<<30}).Draw(t, "number")
		if rapid.Bool().Draw(t, "near") {
			n += rapid.Int64Range(-3, 3).Draw(t, "off")
		}
		quote := seg(names[from], names[1-from], "A", base[from]+uint32(n), 0, 0, 0)
		host := strings.Split(names[from], ":")[0]
		got := g.from([2]Side{Remote, Local}[from], icmpError([2]string{stranger, inside}[from], host, 3, quote))
		if want := map[bool]string{true: "A", false: "D"}[first <= n && n <= said[from]]; got != want {
			t.Fatalf("number %d of %d, acknowledged %d, window %d: %s", n, said[from], acked[from], win[1-from], got)
		}
	})
}
