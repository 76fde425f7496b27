package conntrack

// Status is the protocol state of a connection, named as netfilter names it.
type Status uint8

const (
	statusFree Status = iota // the slot holds no connection

	// TCP.
	StatusSynSent     // the opener's SYN was seen
	StatusSynSent2    // both sides' SYNs crossed (simultaneous open)
	StatusSynRecv     // the SYN was answered
	StatusEstablished // the handshake is complete, or TCPLoose picked it up
	StatusFinWait     // one side has sent its FIN
	StatusCloseWait   // that FIN was acknowledged
	StatusLastAck     // both sides have sent their FIN
	StatusTimeWait    // the last FIN was acknowledged
	StatusClose       // reset

	// Every other protocol.
	StatusUnreplied // one direction seen
	StatusReplied   // both seen (ICMP queries)
	StatusAssured   // both seen, not evicted

	statusEnd
)

// String returns the status as conntrack(8) prints it.
func (s Status) String() string {
	switch s {
	case StatusSynSent:
		return "SYN_SENT"
	case StatusSynSent2:
		return "SYN_SENT2"
	case StatusSynRecv:
		return "SYN_RECV"
	case StatusEstablished:
		return "ESTABLISHED"
	case StatusFinWait:
		return "FIN_WAIT"
	case StatusCloseWait:
		return "CLOSE_WAIT"
	case StatusLastAck:
		return "LAST_ACK"
	case StatusTimeWait:
		return "TIME_WAIT"
	case StatusClose:
		return "CLOSE"
	case StatusUnreplied:
		return "UNREPLIED"
	case StatusReplied:
		return "REPLIED"
	case StatusAssured:
		return "ASSURED"
	}
	return "NONE"
}

// closed reports whether a TCP connection is over, so that a SYN opens another.
func (s Status) closed() bool { return s == StatusTimeWait || s == StatusClose }

// End is why an entry left the table.
type End uint8

const (
	EndExpired  End = iota + 1 // idle for too long
	EndClosed                  // closed by TCP (TIME_WAIT or CLOSE), then expired
	EndEvicted                 // made room for a new connection
	EndDeleted                 // Delete or DeleteTuple
	EndFlushed                 // Flush
	EndCut                     // Update
	EndReplaced                // closed, and a new connection took its tuple
)

// String returns the reason in one lower-case word, for logs and metrics.
func (e End) String() string {
	switch e {
	case EndExpired:
		return "expired"
	case EndClosed:
		return "closed"
	case EndEvicted:
		return "evicted"
	case EndDeleted:
		return "deleted"
	case EndFlushed:
		return "flushed"
	case EndCut:
		return "cut"
	case EndReplaced:
		return "replaced"
	}
	return "none"
}

// Entry is a copy of one tracked connection. Its times are on the caller's
// clock as it stood at the table's last packet, to within 1/16 second.
type Entry struct {
	Zone      Zone
	Orig      Tuple // of the packet that started it, as it was sent
	OrigSide  Side  // who sent that packet
	Mark      Mark
	Epoch     uint32
	Status    Status
	SeenReply bool // a packet in the reply direction was seen
	Assured   bool // established both ways: not evicted before it closes
	Adopted   bool // TCP picked up in the middle: by TCPLoose or by Adopt

	ICMPType uint8 // of the query that started it; valid for ICMP and ICMPv6
	ICMPCode uint8

	Packets [2]uint64 // indexed by Dir
	Bytes   [2]uint64 // of IP, headers included; indexed by Dir

	Created  Time
	LastSeen Time // the last packet that belonged to it
	Expires  Time // if it stays idle
}

// Total returns packets and bytes of both directions.
func (e *Entry) Total() (packets, bytes uint64) {
	return e.Packets[Original] + e.Packets[Reply], e.Bytes[Original] + e.Bytes[Reply]
}
