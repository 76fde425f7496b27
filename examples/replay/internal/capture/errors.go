package capture

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNotCapture is wrapped by the error of [Open] for a file that is
	// neither pcap nor pcapng.
	ErrNotCapture = errors.New("capture: neither a pcap nor a pcapng file")

	// ErrTruncated is wrapped by the error for a file that ends in the middle
	// of a record, as the file of an interrupted capture does.
	ErrTruncated = errors.New("the file ends in the middle of a record")

	// ErrCorrupt is wrapped by the error for a file that contradicts itself,
	// or has a packet longer than [MaxPacket].
	ErrCorrupt = errors.New("the file is corrupt")
)

// LinkTypeError is the error for packets of a link type that this package
// cannot take apart.
type LinkTypeError struct {
	Type LinkType
}

// Error names the link type and the ones that are supported.
func (e *LinkTypeError) Error() string {
	var known []string
	for _, l := range linkTypes {
		if l.supported {
			known = append(known, l.typ.String())
		}
	}
	return fmt.Sprintf("capture: link type %v is not supported; supported are %s",
		e.Type, strings.Join(known, ", "))
}
