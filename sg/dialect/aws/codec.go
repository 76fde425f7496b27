package aws

import (
	"strconv"
	"strings"

	"example.com/secgroup/sg"
)

// defaultName is the name of the group that every VPC has, and of no other.
const defaultName = "default"

// protocolName returns p as the EC2 API writes it: "-1" for every protocol,
// four names, else the number.
func protocolName(p sg.Protocol) string {
	switch p {
	case sg.AnyProtocol:
		return "-1"
	case sg.TCP, sg.UDP, sg.ICMP, sg.ICMPv6:
		return p.String()
	}
	return strconv.Itoa(int(p))
}

// parseProtocol reads what protocolName writes, the four names in any letter
// case (RU-06) and also as numbers. AWS knows no other name: "all", say, is
// refused.
func parseProtocol(s string) (sg.Protocol, error) {
	if s == "-1" {
		return sg.AnyProtocol, nil
	}
	for _, p := range []sg.Protocol{sg.TCP, sg.UDP, sg.ICMP, sg.ICMPv6} {
		if strings.ToLower(s) == p.String() {
			return p, nil
		}
	}
	if p, err := sg.ParseProtocol(s); err == nil && strconv.Itoa(int(p)) == s {
		return p, nil
	}
	return 0, &sg.FieldError{Value: s, Err: sg.ErrInvalid, Detail: "want tcp, udp, icmp, icmpv6, a number from 1 to 255, or -1 for every protocol"}
}
