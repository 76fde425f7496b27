package conntrack

// ValidFlags reports whether TCP implementations send segments with these
// flags: NULL, FIN without ACK, SYN with FIN or RST and their like are the
// marks of a scan (RFC 9293 3.10.7). Track refuses them; a caller that lets
// segments pass without tracking asks here.
func ValidFlags(flags uint8) bool { return segmentOf(flags) != segBad }
