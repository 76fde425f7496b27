package conntrack

// Lane is a way to the table for packets as they come, which need not be decoded
// first: of one zone, sent by one side. It knows what nearly all packets are,
// and says of the others that it does not, having changed nothing. It is made by
// [Table.Lane], is a value, and is safe for concurrent use.
type Lane struct {
	table *Table
	zone  Zone
	epoch uint32
	from  Side
	any   bool // of any epoch
}

// Lane returns a way for packets that side from of zone z sends, of connections
// whose epoch is that.
func (t *Table) Lane(z Zone, from Side, epoch uint32) Lane {
	return Lane{table: t, zone: z, epoch: epoch, from: from & 1}
}

// Track is [Table.TrackTo] of the packet that b, which starts at an IP header,
// begins with, if that is whole TCP or UDP right behind a plain header of IPv4 or
// IPv6, and if its addresses differ and neither is suspect (see
// [packet.Suspect4] and [packet.Suspect6]).
//
// Established: it belongs to a connection of the lane's epoch, of which mark is
// the mark, and is counted there. TCP is data or an acknowledgement, without
// options but timestamps: never a SYN.
//
// New: it may start a connection, and belongs to none. TCP is a SYN.
//
// Invalid: the lane does not say what it is, and nothing has changed; ask Track.
func (l *Lane) Track(now Time, b []byte) (State, Mark) {
	t := l.table
	var h head
	if t == nil || !l.read(b, &h) {
		return Invalid, 0
	}
	at, ok := t.clock.current(now)
	if !ok {
		at = t.clock.move(now)
	}
	s := t.shard(h.hash)
	moves := s.index.moves.Load()
	id := s.index.guess(h.hash)
	if id != 0 && h.may&mayFollow != 0 {
		if w, m, _, _ := l.follow(at, &h, s, id); w != 0 {
			return Established, m
		}
	} else if id == 0 && h.may&mayOpen != 0 && moves%2 == 0 && s.index.moves.Load() == moves { // as shard.find has it
		return New, 0
	}
	return Invalid, 0
}
