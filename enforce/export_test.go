package enforce

import (
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// General is FilterWith without the lanes of the connection table.
func (p *Port) General(c Checksums, d sg.Direction, b []byte) ir.Verdict { return p.general(c, d, b) }

// Widen has batches asked together, as where rules name many addresses, until the
// policy changes. No packet may be on its way.
func (p *Port) Widen() {
	for d := range p.current().wide {
		p.current().wide[d] = true
	}
}

// Wide reports whether batches of direction d are asked together.
func (p *Port) Wide(d sg.Direction) bool { return p.current().wide[d] }

// PlainWords is what the short way makes of a packet that a lane knows.
var PlainWords = plainWords
