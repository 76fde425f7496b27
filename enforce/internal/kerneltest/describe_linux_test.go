package kerneltest

import (
	"fmt"

	"example.com/secgroup/conntrack/packet"
)

// describe returns a packet in words, for people.
func describe(b []byte) string {
	var p packet.Packet
	err := packet.Decode(b, &p)
	out := p.Tuple.String()
	switch {
	case err != nil:
		return fmt.Sprintf("%s (%v)", out, err)
	case p.Tuple.Proto == packet.ProtoTCP && p.L4 != 0:
		flags := ""
		for i, c := range "FSRPAU" {
			if p.Flags>>i&1 != 0 {
				flags += string(c)
			}
		}
		out += fmt.Sprintf(" %s seq %d+%d ack %d win %d", flags, p.Seq, p.Data, p.Ack, p.Window)
	case (p.Tuple.Proto == packet.ProtoICMP || p.Tuple.Proto == packet.ProtoICMPv6) && p.L4 != 0:
		out += fmt.Sprintf(" type %d/%d", p.ICMPType, p.ICMPCode)
		if p.IsICMPError() {
			out += " about " + p.Inner.Tuple.String()
		}
	}
	if p.Fragment {
		out += fmt.Sprintf(" fragment %#x %d+%d more %v", p.FragID, p.FragOffset*8, p.FragSize, p.MoreFrags)
	}
	return out
}
