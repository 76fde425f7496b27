package sg

// Action is what happens to a packet. The zero value is Drop.
type Action uint8

const (
	Drop Action = iota
	Accept
)

func actions() enum[Action] {
	return enum[Action]{"action", []enumText[Action]{
		{"drop", Drop}, {"accept", Accept}, {"deny", Drop}, {"allow", Accept},
	}}
}

// ParseAction parses "accept", "drop", "allow" or "deny" in any letter case.
func ParseAction(s string) (Action, error) { return actions().parse(s) }

// String is "accept" or "drop".
func (a Action) String() string {
	if a == Accept {
		return "accept"
	}
	return "drop"
}

// MarshalText writes the canonical text.
func (a Action) MarshalText() ([]byte, error) { return actions().marshal(a) }

// UnmarshalText is ParseAction.
func (a *Action) UnmarshalText(b []byte) (err error) {
	*a, err = ParseAction(string(b))
	return err
}

// Established says what a policy change does to connections already tracked.
type Established uint8

const (
	// Revalidate judges the next packet of each tracked connection by the new
	// policy; what is still allowed goes on undisturbed.
	Revalidate Established = iota
	// Keep lets every tracked connection live until it times out.
	Keep
	// Cut forgets, at the moment of the change, every tracked connection that
	// the new policy refuses.
	Cut
)

func establisheds() enum[Established] {
	return enum[Established]{"way to treat established flows", []enumText[Established]{
		{"revalidate", Revalidate}, {"keep", Keep}, {"cut", Cut},
	}}
}

// ParseEstablished parses "revalidate", "keep" or "cut" in any letter case.
func ParseEstablished(s string) (Established, error) { return establisheds().parse(s) }

// String is "revalidate", "keep" or "cut".
func (e Established) String() string { return establisheds().format(e) }

// MarshalText writes the canonical text.
func (e Established) MarshalText() ([]byte, error) { return establisheds().marshal(e) }

// UnmarshalText is ParseEstablished.
func (e *Established) UnmarshalText(b []byte) (err error) {
	*e, err = ParseEstablished(string(b))
	return err
}
