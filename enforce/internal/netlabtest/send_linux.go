package netlabtest

import (
	"errors"
	"fmt"
)

// Host is where a packet comes from that the router sends of its own accord.
const Host = "(host)"

// Step is one packet of a sequence.
type Step struct {
	// From is the device at which the router receives the packet, or Host: the
	// router sends it to where its main routing table leads. A packet that the
	// output hook drops is one that did not arrive. An IPv4 packet must have an
	// identification, or the kernel gives it one.
	From string
	// To is the device by which the router must send it for it to count as
	// arrived; empty means any.
	To string
	// Packet is the IP packet. The lab sends it as it is, whatever it is, and
	// never changes it.
	Packet []byte
	// EtherType is what the frame says the packet is; 0 means IPv4 or IPv6 by
	// the packet's version.
	EtherType uint16
	// Same, if not nil, decides whether a packet that came out is this one.
	// Otherwise it is if it differs in nothing but what a router changes: TTL
	// or hop limit, IPv4 header checksum, bytes after the packet's end, and the
	// identification of IPv6 fragments.
	Same func(got []byte) bool
	// Prompt says that a packet that comes out during a later step is not this
	// one, though this is a fragment.
	Prompt bool
}

// Output is one packet that the router sent.
type Output struct {
	// Step is the number of the step that made the router send it.
	Step int
	// Device is the router's device that it left by.
	Device string
	// Packet is the IP packet, or whatever else followed the Ethernet header.
	Packet []byte
	// Forwarded is the number of the step whose packet this is, or -1 if it is
	// something else: an answer of the router, or the packet of a step at a
	// device that is not its To.
	Forwarded int
}

// Report is what became of a sequence of packets.
type Report struct {
	// Arrived says for each step whether its packet left by the device that
	// the step names.
	Arrived []bool
	// Outputs is all that the router sent, in the order in which it did.
	Outputs []Output
}

// At returns the packets that left by a device.
func (r *Report) At(device string) [][]byte {
	return r.packets(func(o Output) bool { return o.Device == device })
}

// Extra returns the packets that left by a device and are not those of the
// steps: what the router itself answered, first of all.
func (r *Report) Extra(device string) [][]byte {
	return r.packets(func(o Output) bool { return o.Device == device && o.Forwarded < 0 })
}

func (r *Report) packets(keep func(Output) bool) [][]byte {
	var out [][]byte
	for _, o := range r.Outputs {
		if keep(o) {
			out = append(out, o.Packet)
		}
	}
	return out
}

// Send puts packets on the wire one after the other, each when all consequences
// of the one before have come out, and says for each whether it arrived.
//
// A fragment that the router holds back until the datagram is complete counts
// as arrived if it comes out during a later step of the same call.
func (l *Lab) Send(steps []Step) ([]bool, error) {
	r, err := l.exchange(steps, false)
	if err != nil {
		return nil, err
	}
	return r.Arrived, nil
}

// Exchange is [Lab.Send] that reports everything that came out.
func (l *Lab) Exchange(steps []Step) (*Report, error) {
	return l.exchange(steps, true)
}

func (l *Lab) exchange(steps []Step, capture bool) (*Report, error) {
	var out *Report
	err := l.use(func() error {
		for i, s := range steps {
			if err := l.check(s); err != nil {
				return fmt.Errorf("netlabtest: step %d: %w", i, err)
			}
		}
		var err error
		out, err = l.injector.exchange(steps, capture)
		return err
	})
	return out, err
}

func (l *Lab) check(s Step) error {
	if _, ok := l.injector.ends[s.From]; !ok && s.From != Host {
		return fmt.Errorf("no device %q", s.From)
	}
	if _, ok := l.injector.ends[s.To]; !ok && s.To != "" {
		return fmt.Errorf("no device %q", s.To)
	}
	if s.EtherType == 0 && etherType(s.Packet) == 0 {
		return errors.New("neither IPv4 nor IPv6: say the EtherType")
	}
	return nil
}

// etherType is what carries a packet by its version, or 0.
func etherType(packet []byte) uint16 {
	switch {
	case len(packet) > 0 && packet[0]>>4 == 4:
		return 0x0800
	case len(packet) > 0 && packet[0]>>4 == 6:
		return 0x86dd
	}
	return 0
}
