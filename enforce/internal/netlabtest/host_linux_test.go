package netlabtest

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHost: the router sends what a step says, unless its output hook drops it.
func TestHost(t *testing.T) {
	c := small()
	c.HostAddrs = prefixes("10.9.9.9/32", "fd00:9::9/128")
	lab := Start(t, c)
	v4, v6 := udp(t, "10.9.9.9:1", "10.0.0.5:2", []byte("v4")), udp(t, "[fd00:9::9]:1", "[fd00::6]:2", []byte("v6"))
	binary.BigEndian.PutUint16(v4[4:], 0)
	_, err := lab.Send([]Step{{From: Host, To: "sg0", Packet: v4}})
	require.ErrorContains(t, err, "identification")
	binary.BigEndian.PutUint16(v4[4:], 7)
	steps := []Step{{From: Host, To: "sg0", Packet: v4}, {From: Host, To: "sg1", Packet: v6}, {From: Host, To: "sg0", Packet: v6}}
	require.Equal(t, []bool{true, true, false}, send(t, lab, steps...))
	require.NoError(t, lab.Ruleset(t.Context(), "table inet t {\nchain c {\ntype filter hook output priority 0;\nip daddr 10.0.0.5 drop\n}\n}\n"))
	require.Equal(t, []bool{false, true, false}, send(t, lab, steps...))
}
