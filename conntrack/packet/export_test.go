package packet

// DecodeLong is Decode without its short way: the oracle of that.
func DecodeLong(b []byte, p *Packet) error {
	if e := p.decode(b); e != 0 {
		return e
	}
	return nil
}
