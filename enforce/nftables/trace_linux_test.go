package nftables

import (
	"encoding/binary"
	"errors"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/secgroup/enforce/internal/netlabtest"
)

// statementAt is where a statement stands in a ruleset.
type statementAt struct {
	chain string
	n     int
}

// tracer hears which statements packets match, of every packet in a lab.
type tracer struct {
	t   testing.TB
	lab *netlabtest.Lab
	fd  int
	buf []byte
	at  map[string]map[uint64]statementAt // by table and handle
}

// traceTable marks all packets before any other chain sees them.
const traceTable = `table inet trace {
	chain in { type filter hook prerouting priority -500; meta nftrace set 1; }
	chain out { type filter hook output priority -500; meta nftrace set 1; }
}
`

// newTracer switches tracing on for packets through some tables.
func newTracer(t testing.TB, lab *netlabtest.Lab, tables ...string) *tracer {
	tr := &tracer{t: t, lab: lab, buf: make([]byte, 1<<17), at: map[string]map[uint64]statementAt{}}
	require.NoError(t, lab.Ruleset(t.Context(), traceTable))
	require.NoError(t, lab.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		tr.fd = fd
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, wanted); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTRACE - 1)})
	}))
	for _, table := range tables {
		require.NoError(t, tr.learn(table))
	}
	return tr
}

// close switches tracing off.
func (tr *tracer) close() {
	require.NoError(tr.t, unix.Close(tr.fd))
	require.NoError(tr.t, tr.lab.Ruleset(tr.t.Context(), "delete table inet trace\n"))
}

// learn reads which statement has which handle.
func (tr *tracer) learn(table string) error {
	const ruleHandle = 3 // NFTA_RULE_HANDLE
	at, next := map[uint64]statementAt{}, map[string]int{}
	tr.at[table] = at
	return tr.lab.Do(func() error {
		s, err := openSocket()
		if err != nil {
			return err
		}
		k := &kernel{table: table, s: s}
		again := func() {
			clear(at)
			clear(next)
		}
		err = k.dump(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, nil, again, func(attrs iter.Seq2[int, []byte]) {
			chain, _ := readRule(attrs)
			for t, b := range attrs {
				if t == ruleHandle {
					at[binary.BigEndian.Uint64(b)] = statementAt{chain, next[chain]}
					next[chain]++
				}
			}
		})
		return errors.Join(err, k.close())
	})
}

// heard returns how often statements of a table matched since it was last
// asked.
func (tr *tracer) heard(table string) map[statementAt]int {
	const isRule = 3 // NFT_TRACETYPE_RULE
	out := map[statementAt]int{}
	for {
		n, _, err := unix.Recvfrom(tr.fd, tr.buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			return out
		}
		require.NoError(tr.t, err)
		for b := tr.buf[:n]; len(b) >= unix.NLMSG_HDRLEN+4; {
			size := int(binary.NativeEndian.Uint32(b))
			var handle uint64
			var of string
			var typ uint32
			for t, v := range attributes(b[unix.NLMSG_HDRLEN+4 : size]) {
				switch t {
				case unix.NFTA_TRACE_TABLE:
					of = text(v)
				case unix.NFTA_TRACE_TYPE:
					typ = binary.BigEndian.Uint32(v)
				case unix.NFTA_TRACE_RULE_HANDLE:
					handle = binary.BigEndian.Uint64(v)
				}
			}
			if at, ok := tr.at[table][handle]; ok && of == table && typ == isRule {
				out[at]++
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}
