package conntrack

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack/packet"
)

// TestCollisions: a packet whose hash looks the same as that of a connection, but
// which differs from it in one field, does not belong to it, whichever the field.
func TestCollisions(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	bytes := func(b []byte) { binary.LittleEndian.PutUint64(b, r.Uint64()) }
	random := func(p *packet.Packet, proto uint8) {
		*p = packet.Packet{Length: 60, L4: 40, Tuple: Tuple{Family: 6, Proto: proto}}
		bytes(p.Tuple.Src[:8])
		bytes(p.Tuple.Dst[8:])
		switch proto {
		case packet.ProtoTCP:
			p.Flags, p.Window = packet.SYN, 1000
			p.Tuple.SrcPort, p.Tuple.DstPort = 1, 2
		case packet.ProtoUDP:
			p.Tuple.SrcPort, p.Tuple.DstPort = 1, 2
		case packet.ProtoICMPv6:
			p.ICMPType, p.Tuple.SrcPort, p.Tuple.DstPort = icmp6Echo, 5, 5
		}
	}
	type other struct {
		zone Zone
		side Side
	}
	fields := map[string]func(p *packet.Packet, o *other){
		"source, high half":      func(p *packet.Packet, _ *other) { bytes(p.Tuple.Src[:8]) },
		"source, low half":       func(p *packet.Packet, _ *other) { bytes(p.Tuple.Src[8:]) },
		"destination, high half": func(p *packet.Packet, _ *other) { bytes(p.Tuple.Dst[:8]) },
		"destination, low half":  func(p *packet.Packet, _ *other) { bytes(p.Tuple.Dst[8:]) },
		"source port":            func(p *packet.Packet, _ *other) { p.Tuple.SrcPort ^= 1 << r.IntN(16) },
		"destination port":       func(p *packet.Packet, _ *other) { p.Tuple.DstPort ^= 1 << r.IntN(16) },
		"zone":                   func(_ *packet.Packet, o *other) { o.zone ^= 1 << r.IntN(32) },
		"side":                   func(_ *packet.Packet, o *other) { o.side ^= 1 },
		"family":                 func(p *packet.Packet, _ *other) { p.Tuple.Family = 4 },
		"protocol":               func(p *packet.Packet, _ *other) { p.Tuple.Proto = 47 + 85*(p.Tuple.Proto%2) },
		"code":                   func(p *packet.Packet, _ *other) { p.ICMPCode ^= 1 << r.IntN(8) },
	}
	for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoUDP, 47, packet.ProtoICMPv6} {
		for name, change := range fields {
			if proto == packet.ProtoICMPv6 && name == "family" || proto != packet.ProtoICMPv6 && name == "code" {
				continue // it is invalid, or it has none
			}
			tb := NewTable(Options{MaxEntries: 16, Shards: 1, MaxFragments: 1})
			s := &tb.shards[0]
			s.index.buckets = s.index.buckets[:1]
			p, q := new(packet.Packet), new(packet.Packet)
			for tries := 0; ; tries++ {
				if tries > 20<<16 {
					t.Fatal("nothing collides")
				}
				random(p, proto)
				*q = *p
				is := other{5, Local}
				to := is
				change(q, &to)
				var k, l key
				k.set(is.zone, is.side, &p.Tuple, p.ICMPType, p.ICMPCode)
				l.set(to.zone, to.side, &q.Tuple, q.ICMPType, q.ICMPCode)
				if tagOf(tb.secret.hash(&k)) != tagOf(tb.secret.hash(&l)) || *p == *q && is == to {
					continue
				}
				_, err := tb.Commit(0, is.zone, is.side, p, 1, 1)
				require.NoError(t, err)
				require.Equal(t, New, tb.Track(0, to.zone, to.side, q).State, "%d, %s", proto, name)
				require.Equal(t, Established, tb.Track(0, is.zone, is.side, p).State, "%d, %s", proto, name)
				// Both live side by side.
				c, err := tb.Commit(0, to.zone, to.side, q, 2, 1)
				require.NoError(t, err)
				require.Equal(t, New, c.State)
				require.Equal(t, Mark(1), tb.Track(0, is.zone, is.side, p).Mark)
				require.Equal(t, Mark(2), tb.Track(0, to.zone, to.side, q).Mark)
				require.True(t, tb.Delete(0, c))
				require.Equal(t, Mark(1), tb.Track(0, is.zone, is.side, p).Mark)
				audit(t, tb)
				break
			}
		}
	}
}

// TestGuesses: the two ways to look for a tag find the same connections, in all
// lanes of a bucket and in the other bucket.
func TestGuesses(t *testing.T) {
	const flows = 50_000
	tb := NewTable(Options{MaxEntries: flows, Shards: 1, Shares: whole})
	for i := range flows {
		out, _ := flow(i)
		_, err := tb.Commit(0, 1, Local, out, 1, 1)
		require.NoError(t, err)
	}
	s := &tb.shards[0]
	apart := 0
	for slot := range uint32(flows) {
		id := (slot + 1) << 1
		h := s.hashOf(id)
		one, many := s.index.guess(h), s.index.guessOfMany(h)
		require.Equal(t, tagOf(h), tagOf(s.hashOf(one)))
		require.Equal(t, tagOf(h), tagOf(s.hashOf(many)))
		if one != many || one != id { // two of one tag in a bucket
			apart++
		}
		other := h ^ 1<<63 // hardly any is there
		if one, many := s.index.guess(other), s.index.guessOfMany(other); one != many {
			apart++
		}
	}
	require.Less(t, apart, flows/1000)
}
