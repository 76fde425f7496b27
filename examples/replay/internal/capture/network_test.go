package capture

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

func TestNetwork(t *testing.T) {
	const (
		v4   = "45000014"
		v6   = "60000000"
		macs = "020000000005 020000000007 "
		sll  = "0000 0001 0006 0200000000070000 "
		sll2 = " 0000 00000002 0001 00 06 0200000000070000 "
	)
	for _, c := range []struct {
		link  LinkType
		frame string
		want  string // the note, or the first of the version
	}{
		{LinkEthernet, macs + "0800" + v4, v4},
		{LinkEthernet, macs + "86dd" + v6, v6},
		{LinkEthernet, macs + "86dd" + v4, "ip version 4 in place of 6"},
		{LinkEthernet, macs + "0800" + v6, "ip version 6 in place of 4"},
		{LinkEthernet, macs + "0806 0001", "arp"},
		{LinkEthernet, macs + "8035 0001", "rarp"},
		{LinkEthernet, macs + "88cc 0207", "ethertype 0x88cc"},
		{LinkEthernet, macs + "0600 0207", "ethertype 0x0600"},
		{LinkEthernet, macs + "05ff 0207", "llc"},
		{LinkEthernet, macs + "0004 aaaa", "llc"},
		{LinkEthernet, macs + "0020 aaaa03 000000 0800" + v4, "llc"},
		{LinkEthernet, macs + "0800", "too short"},
		{LinkEthernet, macs + "08", "too short"},
		{LinkEthernet, "", "too short"},
		{LinkEthernet, macs + "8100 0064 0800" + v4, v4},
		{LinkEthernet, macs + "88a8 00c8 8100 0064 86dd" + v6, v6},
		{LinkEthernet, macs + "9100 00c8 8100 0064 0806 00", "arp"},
		{LinkEthernet, macs + strings.Repeat("8100 0064", 4) + "0800" + v4, v4},
		{LinkEthernet, macs + strings.Repeat("8100 0064", 5) + "0800" + v4, "more than 4 vlan tags"},
		{LinkEthernet, macs + "8100 0064 08", "too short"},
		{LinkEthernet, macs + "8100 0064 0020 aaaa", "llc"},

		{LinkRaw, v4, v4},
		{LinkRawDLT12, v6, v6},
		{LinkRawDLT14, v4, v4},
		{LinkRaw, "50", "ip version 5"},
		{LinkRaw, "00", "ip version 0"},
		{LinkRaw, "", "too short"},
		{LinkIPv4, v4, v4},
		{LinkIPv4, v6, "ip version 6 in place of 4"},
		{LinkIPv6, v6, v6},
		{LinkIPv6, v4, "ip version 4 in place of 6"},

		{LinkNull, "02000000" + v4, v4},
		{LinkNull, "00000002" + v4, v4},
		{LinkNull, "1e000000" + v6, v6},
		{LinkLoop, "00000002" + v4, v4},
		{LinkLoop, "00000018" + v6, v6},
		{LinkLoop, "0000001c" + v6, v6},
		{LinkLoop, "0000000a" + v6, v6},
		{LinkLoop, "0000000a" + v4, "ip version 4 in place of 6"},
		{LinkLoop, "00000007" + v4, "address family 7"},
		{LinkNull, "01020304" + v4, "address family 67305985"},
		{LinkNull, "020000", "too short"},
		{LinkNull, "02000000", "too short"},

		{LinkSLL, sll + "0800" + v4, v4},
		{LinkSLL, sll + "86dd" + v6, v6},
		{LinkSLL, sll + "0806 0001", "arp"},
		{LinkSLL, sll + "8100 0064 0800" + v4, v4},
		{LinkSLL, sll + "0004 4242", "llc"},
		{LinkSLL, sll + "0001 4242", "linux protocol 0x0001"},
		{LinkSLL, "0000 0338 0006 0200000000070000 0800" + v4, "netlink"},
		{LinkSLL, sll + "08", "too short"},
		{LinkSLL, sll + "0800", "too short"},
		{LinkSLL2, "0800" + sll2 + v4, v4},
		{LinkSLL2, "86dd" + sll2 + v6, v6},
		{LinkSLL2, "0806" + sll2 + "0001", "arp"},
		{LinkSLL2, "88a8" + sll2 + "0064 0800" + v4, v4},
		{LinkSLL2, "0010 0000 00000002 0338 00 06 0200000000070000 45", "netlink"},
		{LinkSLL2, "0800" + sll2, "too short"},
		{LinkSLL2, "0800 0000 00000002", "too short"},
	} {
		t.Run(fmt.Sprint(c.link, " ", c.frame), func(t *testing.T) {
			b, err := hex.DecodeString(strings.ReplaceAll(c.frame, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			ip, note := network(c.link, b)
			if want, err := hex.DecodeString(c.want); err == nil {
				if note != "" || !bytes.Equal(ip, want) {
					t.Errorf("% x, %q", ip, note)
				}
				return
			}
			if ip != nil || note != c.want {
				t.Errorf("% x, %q; want %q", ip, note, c.want)
			}
		})
	}
}
