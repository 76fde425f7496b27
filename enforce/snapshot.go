package enforce

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"example.com/secgroup/conntrack"
	"example.com/secgroup/sg"
)

// ErrNoPolicy is returned by [Engine.Restore] before the first Apply: the
// interfaces are not known yet.
var ErrNoPolicy = errors.New("enforce: no policy applied")

// Snapshot writes the tracked connections to w, for the engine of the next
// process, and returns how many: see [conntrack.Table.Snapshot], of which it is
// the form for an Engine. Zones and numbers of rules mean nothing to another
// process, so the file names each connection's interface and its VPC instead.
//
// It may run under traffic. To lose no connection, and nothing of what the ends
// said to each other, stop the traffic first: what passes between Snapshot and
// Restore, past both, the windows of TCP do not know.
func (e *Engine) Snapshot(w io.Writer) (int, error) {
	return e.table.Snapshot(w, e.now(), conntrack.SnapshotOptions{
		Name: func(z conntrack.Zone) (string, bool) {
			if _, ok := e.Interface(z); !ok {
				return "", false // not the engine's
			}
			st := e.stateOf(z)
			if st == nil {
				return "", false // given up
			}
			return zoneName(st.iface.ID, st.iface.VPC), true
		},
	})
}

// Restore puts the connections that Snapshot wrote into the engine's table. Call
// it behind the first Apply and before the first packet, with how long ago the
// snapshot was made, 0 if that is not known: see [conntrack.Table.Restore] and
// [conntrack.RestoreOptions].
//
// Connections of an interface that the policy does not know, or knows in another
// VPC, are not restored; conntrack.Restored.Unwanted counts them. The others
// stand on no rule yet: like connections of an older policy they are kept (on
// rule 0, where today's rules do not allow them) or judged again on their next
// packet; or, under sg.Cut, those that today's rules refuse are forgotten at
// once. Counters of rules begin with what passes from now on.
//
// A file that is damaged is refused whole, with a *conntrack.SnapshotError.
// Apply waits for Restore.
func (e *Engine) Restore(r io.ReadSeeker, elapsed time.Duration) (conntrack.Restored, error) {
	e.apply.Lock()
	defer e.apply.Unlock()
	g := e.gen.Load()
	if g == nil {
		return conntrack.Restored{}, ErrNoPolicy
	}
	sum, err := e.table.Restore(r, e.now(), conntrack.RestoreOptions{
		Elapsed: elapsed,
		// No policy has epoch 0, so they are judged again, and no book has their
		// marks.
		Mark: func(conntrack.Mark, uint32) (conntrack.Mark, uint32) { return 0, 0 },
		Zone: func(_ conntrack.Zone, name []byte) (conntrack.Zone, bool) {
			id, vpc, ok := cutZoneName(name)
			if !ok {
				return 0, false
			}
			// Asked first: Port makes one for any id.
			if i, known := g.matcher.Interface(id); !known || i.VPC != vpc {
				return 0, false
			}
			return e.Port(id).current().zone, true
		},
	})
	if g.matcher.Program().Established() == sg.Cut && sum.Connections > 0 {
		e.cut(g, nil, true)
	}
	return sum, err
}

// Adopt lets segments from the middle of TCP connections open them, where the
// rules allow the segment as they would a first one, for the time d from now on
// and for no more than max connections: for a cold start without a snapshot.
// Stats of the Table counts them (Adopted), their events say so
// (Event.Adopted), and d or max of 0 ends it: see [conntrack.Table.Adopt].
func (e *Engine) Adopt(d time.Duration, max int) { e.table.Adopt(e.now(), d, max) }

// zoneName is what a snapshot calls the zone of an interface.
func zoneName(id sg.InterfaceID, vpc sg.VPCID) string {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(id)+len(vpc)), uint16(len(id)))
	return string(append(append(b, id...), vpc...))
}

// cutZoneName is the inverse of zoneName; ok is false for what is no such name.
func cutZoneName(b []byte) (id sg.InterfaceID, vpc sg.VPCID, ok bool) {
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
		return "", "", false
	}
	n := 2 + binary.BigEndian.Uint16(b)
	return sg.InterfaceID(b[2:n]), sg.VPCID(b[n:]), true
}
