package enforce

import (
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// General is FilterWith without the lanes of the connection table.
func (p *Port) General(c Checksums, d sg.Direction, b []byte) ir.Verdict { return p.general(c, d, b) }

// PlainWords is what the short way makes of a packet that a lane knows.
var PlainWords = plainWords
