package tun

import (
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce"
)

// pieces cuts an IPv4 packet into fragments of n bytes of payload.
func pieces(t testing.TB, pkt []byte, n int) (out [][]byte) {
	var c fragments
	require.True(t, c.cut(pkt, 20+n))
	for c.rest() {
		buf := make([]byte, 2000)
		out = append(out, buf[:c.write(buf)])
	}
	return out
}

func hold() enforce.HoldOptions { return enforce.HoldOptions{Fragments: 8} }

// TestFilterHold: fragments that come before their first one go on behind it,
// both ways; those of a refused datagram never do.
func TestFilterHold(t *testing.T) {
	out := pieces(t, udp(local4, remote4, 53, 3000), 1000)
	no := pieces(t, udp(local4, remote4, 54, 3000), 1000)
	for _, p := range no {
		binary.BigEndian.PutUint16(p[4:], 99)
		headerChecksum(p)
	}
	d := newMemDevice(memRead{pkts: [][]byte{out[2], no[1]}}, memRead{pkts: [][]byte{out[1]}}, memRead{pkts: [][]byte{no[0], out[0], out[3], no[2]}}, memRead{err: io.EOF})
	x := New(d, port(t, web()), FilterOptions{Hold: hold()})
	bufs, sizes := buffers(8, 3)
	n, err := x.Read(bufs, sizes, 3)
	require.NoError(t, err)
	require.Equal(t, [][]byte{out[0], out[3], out[2], out[1]}, packets(bufs, sizes, n, 3))
	s := x.Stats().Egress
	require.EqualValues(t, 4, s.Passed.Packets)
	require.EqualValues(t, len(out[0])+len(out[1])+len(out[2])+len(out[3]), s.Passed.Bytes)
	require.Equal(t, Drops{Policy: 1, Fragment: 1}, s.Drops)

	// Where the buffers are full, the next Read has the rest, before it waits.
	d = newMemDevice(memRead{pkts: [][]byte{out[2], out[1]}}, memRead{pkts: [][]byte{out[0], out[3]}})
	x = New(d, port(t, web()), FilterOptions{Hold: hold()})
	n, _ = x.Read(bufs[:2], sizes, 3)
	require.Equal(t, [][]byte{out[0], out[3]}, packets(bufs, sizes, n, 3))
	n, _ = x.Read(bufs[:1], sizes, 3)
	require.Equal(t, [][]byte{out[2]}, packets(bufs, sizes, n, 3))
	bufs[0] = make([]byte, 500)
	d.reads <- memRead{err: io.EOF}
	n, err = x.Read(bufs[:1], sizes, 3)
	require.Zero(t, n)
	require.ErrorIs(t, err, io.EOF)
	require.EqualValues(t, 1, x.Stats().Egress.Drops.TooBig, "no room for it")

	in := pieces(t, udp(remote4, local4, 53, 3000), 1000)
	x = New(d, port(t, web()), FilterOptions{Hold: hold()})
	n, err = x.Write([][]byte{in[3], in[1]}, 0)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Empty(t, d.got())
	n, err = x.Write([][]byte{in[0], in[2]}, 0)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, [][]byte{in[0], in[2], in[3], in[1]}, d.got())
	require.EqualValues(t, 4, x.Stats().Ingress.Passed.Packets)

	// Without Hold they are lost.
	x = New(d, port(t, web()), FilterOptions{})
	_, err = x.Write([][]byte{in[1], in[0]}, 0)
	require.NoError(t, err)
	require.Equal(t, in[0], d.got()[4])
	require.Equal(t, Drops{Fragment: 1}, x.Stats().Ingress.Drops)
}

// TestFilterHoldFails: an error of the device on the way of a held fragment is
// reported, and the fragment is lost.
func TestFilterHoldFails(t *testing.T) {
	in := pieces(t, udp(remote4, local4, 53, 3000), 1000)
	d := newMemDevice()
	x := New(d, port(t, web()), FilterOptions{Hold: hold()})
	_, err := x.Write([][]byte{in[1]}, 0)
	require.NoError(t, err)
	d.writeErr, d.writeN = io.ErrShortWrite, 1
	n, err := x.Write([][]byte{in[0]}, 0)
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.Equal(t, 1, n)
}

// TestGatewayHold: each port keeps for itself, and what comes late goes the rest
// of the way.
func TestGatewayHold(t *testing.T) {
	p := pieces(t, udp(local4, remote4, 53, 3000), 1000)
	for name, ports := range map[string][2]*enforce.Port{
		"egress":  {port(t, web()), nil},
		"ingress": {nil, port(t, web())},
		"both":    {port(t, web()), port(t, web())},
	} {
		from, to := newMemLink(allOffloads), newMemLink(allOffloads)
		g, err := NewGateway(End{Links: []Link{from}, Port: ports[0]}, End{Links: []Link{to}, Port: ports[1]}, GatewayOptions{Hold: hold(), Answers: Answers{Reject: true}})
		require.NoError(t, err)
		w := g.forwarders[0]
		for _, i := range []int{2, 1, 0, 3} {
			require.NoError(t, w.forward(framed(header{}, p[i])), name)
		}
		var got [][]byte
		for _, f := range to.got() {
			require.Equal(t, make([]byte, HeaderLen), f[:HeaderLen])
			got = append(got, f[HeaderLen:])
		}
		require.Equal(t, [][]byte{p[0], p[2], p[1], p[3]}, got, name)
		require.Empty(t, from.got(), "no answers")
		require.Equal(t, Drops{}, w.drops.load())
	}
}

// TestGatewayChecksum: a transport checksum is verified once, unless the header
// leaves it open.
func TestGatewayChecksum(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		whole := udp(f.local, f.remote, 53, 100)
		bad := append([]byte(nil), whole...)
		bad[len(bad)-1] ^= 1
		open := append([]byte(nil), whole...)
		h := partial(open)
		for _, c := range []struct {
			frame   []byte
			options GatewayOptions
			want    Drops
		}{
			{framed(header{}, whole), GatewayOptions{}, Drops{}},
			{framed(header{}, bad), GatewayOptions{}, Drops{Checksum: 1}},
			{framed(header{flags: dataValid}, bad), GatewayOptions{}, Drops{Checksum: 1}}, // nobody's word is taken
			{framed(header{}, bad), GatewayOptions{NoChecksums: true}, Drops{}},
			{framed(h, open), GatewayOptions{}, Drops{}},
			{framed(header{}, open), GatewayOptions{}, Drops{Checksum: 1}},
		} {
			for _, ingress := range []bool{false, true} {
				from, to := newMemLink(allOffloads), newMemLink(allOffloads)
				w := newForwarder(from, to, port(t, web()), nil, newAnswerer(Answers{Reject: true}), c.options)
				if ingress {
					w.egress, w.ingress = nil, w.egress
				}
				require.NoError(t, w.forward(append([]byte(nil), c.frame...)))
				require.Equal(t, c.want, w.drops.load(), "%x", c.frame)
				require.Empty(t, from.got())
			}
		}
	})
}

// TestFilterNoChecksums: where the device does not vouch for checksums, none but
// that of the IPv4 header is looked at.
func TestFilterNoChecksums(t *testing.T) {
	bad := udp(remote4, local4, 53, 9)
	bad[len(bad)-1] ^= 1
	for _, open := range []bool{false, true} {
		d := newMemDevice()
		x := New(d, port(t, web()), FilterOptions{NoChecksums: open, Answers: Answers{Reject: true}})
		_, err := x.Write([][]byte{bad}, 0)
		require.NoError(t, err)
		require.Equal(t, map[bool]Drops{false: {Checksum: 1}, true: {}}[open], x.Stats().Ingress.Drops)
	}
}
