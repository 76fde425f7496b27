package packet

// Suspect4 reports whether an IPv4 address may be one that names no single
// host of a network: of 0.0.0.0/8, loopback, multicast, reserved or broadcast.
// The first byte of the address is the lowest of addr.
func Suspect4(addr uint32) bool { return addr&0xff-1 >= 223 || addr&0xff == 127 }

// Suspect6 reports the same of the first half of an IPv6 address, whose first
// byte is the lowest of half: unspecified, loopback, IPv4-mapped or multicast. It
// is true of all that are, and of what else begins with 64 zero bits.
func Suspect6(half uint64) bool { return half == 0 || half&0xff == 0xff }
