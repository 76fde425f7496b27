package conntrack

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTCPWalk walks connections through their states: who sends (c the opener,
// s the other), the flags, the expected verdict, status and idle time.
func TestTCPWalk(t *testing.T) {
	const day = 24 * 3600
	type step struct {
		who, flags, verdict string
		status              Status
		idle                int // seconds
	}
	handshake := []step{
		{"c", "S", "A", StatusSynSent, 120},
		{"s", "SA", "A", StatusSynRecv, 60},
		{"c", "A", "A", StatusEstablished, 5 * day},
	}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"active close", append(handshake[:3:3],
			step{"s", "PA", "A", StatusEstablished, 5 * day},
			step{"c", "FA", "A", StatusFinWait, 120},
			step{"c", "FA", "A", StatusFinWait, 120},
			step{"s", "A", "A", StatusCloseWait, 60},
			step{"s", "PA", "A", StatusCloseWait, 60},
			step{"c", "A", "A", StatusCloseWait, 60},
			step{"s", "FA", "A", StatusLastAck, 30},
			step{"c", "A", "A", StatusTimeWait, 120},
			step{"s", "FA", "A", StatusTimeWait, 120},
		)},
		{"passive close", append(handshake[:3:3],
			step{"s", "FA", "A", StatusFinWait, 120},
			step{"c", "A", "A", StatusCloseWait, 60},
			step{"c", "FA", "A", StatusLastAck, 30},
			step{"c", "A", "A", StatusLastAck, 30},
			step{"s", "A", "A", StatusTimeWait, 120},
		)},
		{"simultaneous close", append(handshake[:3:3],
			step{"c", "FA", "A", StatusFinWait, 120},
			step{"s", "FA", "A", StatusLastAck, 30},
			step{"s", "A", "A", StatusLastAck, 30},
			step{"c", "A", "A", StatusTimeWait, 120},
		)},
		{"reset", append(handshake[:3:3],
			step{"s", "R", "A", StatusClose, 10},
			step{"c", "A", "A", StatusClose, 10},
			step{"s", "RA", "A", StatusClose, 10},
			step{"s", "SA", "D", StatusClose, 10},
			step{"c", "S", "A", StatusSynSent, 120}, // a new one
		)},
		{"refused", []step{
			{"c", "S", "A", StatusSynSent, 120},
			{"s", "RA", "A", StatusClose, 10},
		}},
		{"given up", []step{
			{"c", "S", "A", StatusSynSent, 120},
			{"s", "A", "A", StatusSynSent, 120}, // a host with an old connection
			{"c", "R", "A", StatusClose, 10},
		}},
		{"retransmissions", []step{
			{"c", "S", "A", StatusSynSent, 120},
			{"c", "S", "A", StatusSynSent, 120},
			{"s", "SA", "A", StatusSynRecv, 60},
			{"s", "SA", "A", StatusSynRecv, 60},
			{"c", "S", "A", StatusSynRecv, 60},
			{"c", "SA", "D", StatusSynRecv, 60},
			{"s", "S", "D", StatusSynRecv, 60},
			{"s", "PA", "A", StatusSynRecv, 60}, // fast open: data before the handshake's end
			{"c", "PA", "A", StatusEstablished, 5 * day},
			{"s", "SA", "A", StatusEstablished, 5 * day},
			{"c", "SA", "D", StatusEstablished, 5 * day},
		}},
		{"fin instead of ack", []step{
			{"c", "S", "A", StatusSynSent, 120},
			{"s", "SA", "A", StatusSynRecv, 60},
			{"c", "FA", "A", StatusFinWait, 120},
			{"s", "FA", "A", StatusLastAck, 30},
			{"c", "A", "A", StatusTimeWait, 120},
		}},
		{"simultaneous open", []step{
			{"c", "S", "A", StatusSynSent, 120},
			{"s", "S", "A", StatusSynSent2, 120},
			{"s", "R", "A", StatusSynSent2, 120}, // passes, closes nothing
			{"c", "SA", "A", StatusSynRecv, 60},
			{"s", "S", "A", StatusSynRecv, 60},
			{"s", "SA", "A", StatusEstablished, 5 * day},
			{"c", "PA", "A", StatusEstablished, 5 * day},
		}},
		{"split handshake", []step{
			{"c", "S", "A", StatusSynSent, 120},
			{"s", "A", "A", StatusSynSent, 120},
			{"s", "S", "A", StatusSynSent2, 120},
			{"c", "SA", "A", StatusSynRecv, 60},
			{"s", "A", "A", StatusEstablished, 5 * day},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, opener := range []Side{Local, Remote} {
				g := newGate(80)
				for i, s := range tc.steps {
					g.now += second
					from, to := inside+":4000", outside+":80"
					side := Local
					if (s.who == "c") != (opener == Local) {
						from, to, side = to, from, Remote
					}
					if opener == Remote { // the service is inside
						from, to = map[Side]string{Remote: outside + ":4000", Local: inside + ":80"}[side],
							map[Side]string{Local: outside + ":4000", Remote: inside + ":80"}[side]
					}
					require.Equal(t, s.verdict, g.from(side, tcp(from, to, s.flags)), "step %d", i)
					require.Equal(t, s.status, g.status(), "step %d", i)
					require.Equal(t, 1, g.Len())
					for e := range g.All(g.now) {
						require.Equal(t, opener, e.OrigSide)
						require.LessOrEqual(t, e.Expires, g.now+second*Time(s.idle), "step %d", i)
						if e.LastSeen == g.now && s.verdict == "A" && e.Expires == g.now+second*Time(s.idle) {
							continue
						}
						// Passed or refused: the idle time goes on.
						require.Less(t, e.Expires, g.now+second*Time(s.idle), "step %d", i)
					}
				}
			}
		})
	}
}

func TestTCPFlags(t *testing.T) {
	legal := map[uint8]segment{}
	for _, ecn := range []string{"", "E", "C", "EC"} {
		for _, push := range []string{"", "P"} {
			for flags, s := range map[string]segment{
				"S": segSyn, "SU": segSyn, "SA": segSynAck, "A": segAck, "AU": segAck, "FA": segFin, "FAU": segFin, "R": segRst, "RA": segRst,
			} {
				legal[tcpFlags(flags+ecn+push)] = s
			}
		}
	}
	for f := range 256 {
		require.Equal(t, legal[uint8(f)], segmentOf(uint8(f)), "flags %#x", f)
	}
}

func TestTCPLoose(t *testing.T) {
	g := &gate{Table: NewTable(Options{TCPLoose: true})}
	entry := func() (e Entry) {
		for e = range g.All(g.now) {
		}
		return e
	}
	for _, flags := range []string{"SA", "FA", "R", "RA", ""} {
		require.Equal(t, "D", g.out(tcp(inside+":1", outside+":2", flags)), flags)
	}
	require.Equal(t, "A", g.out(tcp(inside+":1", outside+":2", "PA")))
	require.Equal(t, StatusEstablished, entry().Status)
	require.False(t, entry().Assured)
	require.Equal(t, 300*second, entry().Expires)
	require.Equal(t, "A", g.in(tcp(outside+":2", inside+":1", "A")))
	require.True(t, entry().Assured)
	require.Equal(t, Time(5*24*time.Hour), entry().Expires)
}
