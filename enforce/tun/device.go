package tun

// Device is the packet side of a TUN device: whole IP packets, in batches. A
// tun.Device of wireguard-go is one, and so are [Queue] and [Filter].
//
// Read must be callable beside Write, Write beside another Write, and Write
// must not wait for a Read: a Filter with Answers.Reject calls Write from within
// Read. The devices of wireguard-go are like that but for tun/netstack, whose
// Write waits for a Read as soon as its stack has something to say to what was
// written. Around that one, a Filter must not answer.
type Device interface {
	// Read waits for a packet, then fills bufs[i][offset:] and sizes[i] with
	// up to len(bufs) packets. It may return packets together with an error.
	// sizes is at least as long as bufs.
	Read(bufs [][]byte, sizes []int, offset int) (n int, err error)

	// Write sends the packets bufs[i][offset:] and returns how many it sent,
	// with an error if those are not all. It may overwrite the bytes before
	// offset, and those behind the packet up to the capacity.
	Write(bufs [][]byte, offset int) (int, error)

	// BatchSize is the most packets that one Read returns; it never changes.
	BatchSize() int

	// Close makes Read and Write return an error, those that wait included.
	Close() error
}

// Link is the frame side of a device, which a [Gateway] forwards between: IP
// packets behind a header of [HeaderLen] bytes. [Queue] is one.
//
// ReadFrame is called from one goroutine at a time, WriteFrame from several.
type Link interface {
	// ReadFrame waits for a frame and reads it into b, which has room for
	// [FrameSize] bytes. It returns the length of the frame.
	//
	// [ErrInterrupted] says that there is none. An error that wraps
	// os.ErrClosed ends the Gateway. Any other means that a frame is lost,
	// which the Gateway counts as [Drops].Device; sixteen in a row end it.
	ReadFrame(b []byte) (int, error)

	// WriteFrame sends a frame. It does not keep b, and does not wait for
	// room. syscall.EINVAL says that it can not take the offloads that the
	// frame asks for, an error that wraps os.ErrClosed ends the Gateway, and
	// any other means that this frame is lost.
	WriteFrame(b []byte) error

	// Interrupt makes one ReadFrame return ErrInterrupted: the one that waits,
	// or else the next. It may be called at any time.
	Interrupt()

	// MTU is the longest packet that the link takes, in bytes, IP header
	// included; 0 is no limit. It is called for every frame.
	MTU() int

	// Offload says what frames may ask for when they are written. It never
	// changes.
	Offload() Offload
}

// Offload is the work that a device leaves to the other side: a set of bits.
type Offload uint8

const (
	OffloadChecksum Offload = 1 << iota // a TCP or UDP checksum still to be filled in
	OffloadTSO                          // TCP super-packets, IPv4 and IPv6
	OffloadECN                          // TCP super-packets whose first segment has CWR set (RFC 3168)
	OffloadUSO                          // UDP super-packets, IPv4 and IPv6
)

// Has reports whether o has all of want.
func (o Offload) Has(want Offload) bool { return o&want == want }

// String names the bits: "checksum+tso", or "none".
func (o Offload) String() string {
	s := ""
	for i, name := range [...]string{"checksum", "tso", "ecn", "uso"} {
		if o>>i&1 != 0 {
			s += "+" + name
		}
	}
	if s == "" {
		return "none"
	}
	return s[1:]
}
