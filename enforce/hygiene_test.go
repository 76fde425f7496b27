package enforce_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// with4 puts options into an IPv4 header; their length is a multiple of 4.
func with4(b []byte, options ...byte) []byte {
	out := append(append(slices.Clone(b[:20]), options...), b[20:]...)
	out[0] = 0x40 | byte(5+len(options)/4)
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	return out
}

// with6 puts an extension header of a type before what an IPv6 packet carries.
// Its first byte is set to what was there.
func with6(b []byte, typ byte, header ...byte) []byte {
	header = slices.Clone(header)
	header[0] = b[6]
	out := append(append(slices.Clone(b[:40]), header...), b[40:]...)
	out[6] = typ
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)-40))
	return out
}

// anything is a policy under which all passes that is not refused before.
func anything(t testing.TB, o enforce.Options) *bench {
	return newBench(t, o, profile(sg.Revalidate),
		group("open", both("in", sg.Ingress, sg.AnyProtocol, 0), both("out", sg.Egress, sg.AnyProtocol, 0)), nic("i", "open"))
}

// TestHygiene: each thing is refused with its reason, and passes by its switch
// and by no other.
func TestHygiene(t *testing.T) {
	four := udp("192.0.2.7:4000", "10.0.0.5:53", 24)
	six := udp("[2001:db8::7]:4000", "[fd00::5]:53", 24)
	redirect6 := icmp("fe80::1", "fd00::5", 137, 0, make([]byte, 36))
	ns := icmp("fe80::1", "fd00::5", 135, 0, make([]byte, 20))
	from := func(src, dst string) []byte { return udp(at(src, "4000"), at(dst, "53"), 8) }
	for _, c := range []struct {
		name   string
		b      []byte
		reason ir.Reason
		allow  func(*enforce.Hygiene) *bool
	}{
		{"HDR-06 loose", with4(four, 131, 7, 4, 1, 2, 3, 4, 0), ir.ReasonSourceRoute, func(h *enforce.Hygiene) *bool { return &h.AllowSourceRoute }},
		{"HDR-06 strict", with4(four, 137, 7, 4, 1, 2, 3, 4, 0), ir.ReasonSourceRoute, func(h *enforce.Hygiene) *bool { return &h.AllowSourceRoute }},
		{"EXT-03 type 2, a segment left", with6(six, 43, 0, 0, 2, 1, 0, 0, 0, 0), ir.ReasonSourceRoute, func(h *enforce.Hygiene) *bool { return &h.AllowSourceRoute }},
		{"HDR-07 past the header", with4(four, 7, 9, 4, 0), ir.ReasonIPOptions, func(h *enforce.Hygiene) *bool { return &h.AllowBrokenOptions }},
		{"HDR-07 zero", with4(four, 7, 0, 4, 0), ir.ReasonIPOptions, func(h *enforce.Hygiene) *bool { return &h.AllowBrokenOptions }},
		{"EXT-03", with6(six, 43, 0, 0, 0, 0, 0, 0, 0, 0), ir.ReasonRoutingHeader, func(h *enforce.Hygiene) *bool { return &h.AllowRoutingType0 }},
		{"EXT-03 a segment left", with6(six, 43, 0, 0, 0, 1, 0, 0, 0, 0), ir.ReasonRoutingHeader, func(h *enforce.Hygiene) *bool { return &h.AllowRoutingType0 }},
		{"FRAG-11 atomic twice", with6(with6(six, 44, 0, 0, 0, 0, 0, 0, 0, 1), 44, 0, 0, 0, 0, 0, 0, 0, 2), ir.ReasonFragmentHeader, func(h *enforce.Hygiene) *bool { return &h.AllowFragmentHeaders }},
		{"FRAG-11 one of them cuts", with6(with6(six, 44, 0, 0, 0, 1, 0, 0, 0, 1), 44, 0, 0, 0, 0, 0, 0, 0, 2), ir.ReasonFragmentHeader, func(h *enforce.Hygiene) *bool { return &h.AllowFragmentHeaders }},
		{"HDR-11", from("10.0.0.5", "10.0.0.5"), ir.ReasonLand, func(h *enforce.Hygiene) *bool { return &h.AllowLand }},
		{"HDR-11 v6", from("fd00::5", "fd00::5"), ir.ReasonLand, func(h *enforce.Hygiene) *bool { return &h.AllowLand }},
		{"HDR-12", from("127.0.0.1", "10.0.0.5"), ir.ReasonMartian, func(h *enforce.Hygiene) *bool { return &h.AllowMartians }},
		{"HDR-12 destination", from("192.0.2.7", "127.0.0.1"), ir.ReasonMartian, func(h *enforce.Hygiene) *bool { return &h.AllowMartians }},
		{"HDR-12 v6", from("::1", "fd00::5"), ir.ReasonMartian, func(h *enforce.Hygiene) *bool { return &h.AllowMartians }},
		{"FRAG-14", with6(ns, 44, 0, 0, 0, 1, 0, 0, 0, 1), ir.ReasonFragmentedDiscovery, func(h *enforce.Hygiene) *bool { return &h.AllowFragmentedDiscovery }},
		{"ICMP-13", icmp("192.0.2.1", "10.0.0.5", 5, 1, append([]byte{192, 0, 2, 9}, from("10.0.0.5", "192.0.2.7")[:28]...)), ir.ReasonICMPRedirect, func(h *enforce.Hygiene) *bool { return &h.AllowRedirects }},
		{"ICMP-13 v6", redirect6, ir.ReasonICMPRedirect, func(h *enforce.Hygiene) *bool { return &h.AllowRedirects }},
		{"ICMP-12", icmp("192.0.2.7", "10.0.0.5", 200, 0, make([]byte, 4)), ir.ReasonICMPType, func(h *enforce.Hygiene) *bool { return &h.AllowUnknownICMP }},
		{"ICMP-12 v6", icmp("2001:db8::7", "fd00::5", 200, 0, make([]byte, 4)), ir.ReasonICMPType, func(h *enforce.Hygiene) *bool { return &h.AllowUnknownICMP }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := anything(t, enforce.Options{})
			require.Equal(t, "drop "+c.reason.String(), b.in(c.b))
			require.Zero(t, b.Table().Len(), "it leaves nothing")
			require.EqualValues(t, 1, b.drop(c.reason))

			var one, others enforce.Hygiene
			*c.allow(&one) = true
			others = enforce.Hygiene{
				AllowSourceRoute: true, AllowBrokenOptions: true, AllowRoutingType0: true, AllowFragmentHeaders: true, AllowMartians: true,
				AllowLand: true, AllowFragmentedDiscovery: true, AllowRedirects: true, AllowUnknownICMP: true,
			}
			*c.allow(&others) = false
			require.Contains(t, anything(t, enforce.Options{Hygiene: one}).in(c.b), "accept rule open/in-")
			require.Equal(t, "drop "+c.reason.String(), anything(t, enforce.Options{Hygiene: others}).in(c.b))
			// Let through is not allowed: the rules have their say.
			closed := newBench(t, enforce.Options{Hygiene: one}, profile(sg.Revalidate), group("closed"), nic("i", "closed"))
			require.Contains(t, []string{"drop empty_direction", "drop invalid_state"}, closed.in(c.b))
		})
	}
}

// martians is what Hygiene.AllowMartians says, as prefixes.
func martians(src, dst netip.Addr) bool {
	in := func(a netip.Addr, list ...string) bool {
		return slices.ContainsFunc(list, func(p string) bool { return netip.MustParsePrefix(p).Contains(a) })
	}
	if src.Is4() {
		return in(src, "0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4") || in(dst, "0.0.0.0/8", "127.0.0.0/8", "240.0.0.0/4") && !in(dst, "255.255.255.255/32")
	}
	mapped := func(a netip.Addr) bool {
		return strings.HasPrefix(a.StringExpanded(), "0000:0000:0000:0000:0000:ffff:") || a.Is4In6()
	}
	return in(src, "::/128", "::1/128", "ff00::/8") || mapped(src) || in(dst, "::/128", "::1/128") || mapped(dst)
}

func TestMartians(t *testing.T) {
	b := anything(t, enforce.Options{Hygiene: enforce.Hygiene{AllowLand: true}})
	edges4 := []string{"0.0.0.0", "0.0.0.1", "0.255.255.255", "1.0.0.0", "126.255.255.255", "127.0.0.0", "127.0.0.1", "127.255.255.255", "128.0.0.0", "223.255.255.255",
		"224.0.0.0", "224.0.0.1", "239.255.255.255", "240.0.0.0", "255.255.255.254", "255.255.255.255", "192.0.2.7", "10.0.0.5"}
	edges6 := []string{"::", "::1", "::2", "::fffe:1.2.3.4", "::ffff:0:0", "::ffff:1.2.3.4", "::1:0:0:0", "1::", "fd00::5", "fe80::1", "feff::1", "ff00::", "ff02::1", "ffff::ffff", "64:ff9b::7f00:1"}
	rapid.Check(t, func(t *rapid.T) {
		var src, dst netip.Addr
		if rapid.Bool().Draw(t, "six") {
			src, dst = netip.MustParseAddr(rapid.SampledFrom(edges6).Draw(t, "src")), netip.MustParseAddr(rapid.SampledFrom(edges6).Draw(t, "dst"))
		} else {
			src, dst = netip.MustParseAddr(rapid.SampledFrom(edges4).Draw(t, "src")), netip.MustParseAddr(rapid.SampledFrom(edges4).Draw(t, "dst"))
		}
		d := rapid.SampledFrom([]sg.Direction{sg.Ingress, sg.Egress}).Draw(t, "direction")
		p := udp(netip.AddrPortFrom(src, 4000).String(), netip.AddrPortFrom(dst, 53).String(), 8)
		if got, want := b.Port("i").Filter(d, p).Reason == ir.ReasonMartian, martians(src, dst); got != want {
			t.Fatalf("%v > %v: %v, want %v", src, dst, got, want)
		}
	})
	// Hosts that have no address yet.
	for _, p := range [][]byte{
		udp("0.0.0.0:68", "255.255.255.255:67", 8),
		icmp("::", "ff02::1:ff00:5", 135, 0, make([]byte, 20)), icmp("::", "ff02::2", 133, 0, make([]byte, 4)), icmp("::", "ff02::16", 143, 0, make([]byte, 4)),
	} {
		require.Contains(t, b.out(p), "accept rule")
		require.Contains(t, b.in(p), "accept")
	}
	for _, p := range [][]byte{
		udp("0.0.0.0:68", "255.255.255.255:53", 8), udp("0.0.0.0:68", "10.0.0.5:67", 8), udp("0.0.0.1:68", "255.255.255.255:67", 8),
		icmp("::", "fd00::5", 135, 0, make([]byte, 20)), icmp("::", "ff02::1", 136, 0, make([]byte, 20)), icmp("::", "ff02::1", 128, 0, make([]byte, 4)),
	} {
		require.Equal(t, "drop martian", b.in(p))
	}
}

// TestChecksums: TCP-06, UDP-02, HDR-05, ICMP-08, UDP-07. A packet whose checksum
// is wrong changes nothing, if its source vouches for it.
func TestChecksumsText(t *testing.T) {
	require.Equal(t, "unknown header all checksums 3", fmt.Sprint(enforce.ChecksumsUnknown, " ", enforce.ChecksumsHeader, " ", enforce.ChecksumsAll, " ", enforce.Checksums(3)))
}

func TestChecksums(t *testing.T) {
	client, service := "192.0.2.7:4000", "10.0.0.5:443"
	flip := func(b []byte, at int) []byte { b = slices.Clone(b); b[at] ^= 1; return b }
	for _, sums := range []enforce.Checksums{enforce.ChecksumsUnknown, enforce.ChecksumsHeader, enforce.ChecksumsAll} {
		b := anything(t, enforce.Options{Checksums: sums})
		header, all := "accept", "accept"
		if sums >= enforce.ChecksumsHeader {
			header = "drop checksum"
		}
		if sums >= enforce.ChecksumsAll {
			all = "drop checksum"
		}
		require.Contains(t, b.in(flip(tcp(client, service, "S"), 11)), header)
		require.Contains(t, b.in(flip(tcp(client, service, "S"), 37)), all)
		require.Contains(t, b.in(tcp(client, service, "S")), "accept")
		require.Contains(t, b.out(tcp(service, client, "SA")), "accept")
		require.Contains(t, b.in(tcp(client, service, "A")), "accept")
		if sums == enforce.ChecksumsAll {
			require.Equal(t, "drop checksum", b.in(flip(tcp(client, service, "RA"), 37)), "TCP-06")
			require.Equal(t, "ESTABLISHED", b.entries()[0].Status.String())
			require.Contains(t, b.in(tcp(client, service, "PA")), "accept established")
		}
		require.Contains(t, b.in(flip(unreachable("192.0.2.7", "10.0.0.5", tcp(service, client, "A")), 22)), all, "ICMP-08")

		// By call, whatever Options says.
		bad := flip(udp("192.0.2.7:1", "10.0.0.5:53", 8), 30)
		out := make([]ir.Verdict, 1)
		for c, want := range map[enforce.Checksums]sg.Action{enforce.ChecksumsUnknown: sg.Accept, enforce.ChecksumsHeader: sg.Accept, enforce.ChecksumsAll: sg.Drop} {
			require.Equal(t, want, b.Port("i").FilterWith(c, sg.Ingress, bad).Action)
			b.Port("i").FilterBatchWith(c, sg.Ingress, [][]byte{bad}, out)
			require.Equal(t, want, out[0].Action)
		}
	}
}
