package sg

// Direction is relative to the protected interface. The zero value is unset.
type Direction uint8

const (
	Ingress Direction = iota + 1 // towards the interface ("inbound")
	Egress                       // from the interface ("outbound")
)

func directions() enum[Direction] {
	return enum[Direction]{"direction", []enumText[Direction]{
		{"ingress", Ingress}, {"egress", Egress}, {"inbound", Ingress}, {"outbound", Egress},
	}}
}

// ParseDirection parses "ingress", "egress", "inbound" or "outbound" in any
// letter case.
func ParseDirection(s string) (Direction, error) { return directions().parse(s) }

// Valid reports whether d is Ingress or Egress.
func (d Direction) Valid() bool { return d == Ingress || d == Egress }

// Opposite returns the other direction.
func (d Direction) Opposite() Direction {
	switch d {
	case Ingress:
		return Egress
	case Egress:
		return Ingress
	}
	return d
}

// String is "ingress", "egress" or "unset".
func (d Direction) String() string {
	switch d {
	case Ingress:
		return "ingress"
	case Egress:
		return "egress"
	}
	return "unset"
}

// MarshalText writes the canonical text; unset is an error.
func (d Direction) MarshalText() ([]byte, error) { return directions().marshal(d) }

// UnmarshalText is ParseDirection.
func (d *Direction) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDirection(string(b))
	return err
}
