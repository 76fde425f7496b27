package packet

// Suspect4 reports whether an IPv4 address may be one that does not name one
// host: unspecified, loopback, multicast, reserved or broadcast. It is true of all that are, and of
// few others. Its first byte is the lowest byte of addr.
func Suspect4(addr uint32) bool { return addr&0xff-1 >= 223 || addr&0xff == 127 }

// Suspect6 likewise, of the first half of an IPv6 address, of which the first
// byte is the lowest. IPv4-mapped addresses are among them.
func Suspect6(half uint64) bool { return half == 0 || half&0xff == 0xff }
