package nftables

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// watcher hears of every change of the ruleset, to know which are of the table:
// others may change theirs all the time.
type watcher struct {
	fd      int
	table   string
	buf     []byte
	lost    bool   // something was not heard
	losses  int    // how often
	pending bool   // the transaction whose end is not heard yet is of the table
	own     uint32 // the last generation that was of the table, if any was
	any     bool
	count   int    // of the transactions that were of the table
	last    uint32 // the last generation heard of
}

func watch(table string) (*watcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, wanted) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, wanted)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)}); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return &watcher{fd: fd, table: table, buf: make([]byte, 1<<17), lost: true}, nil
}

func (w *watcher) close() error { return os.NewSyscallError("close", unix.Close(w.fd)) }

// hear reads what has happened.
func (w *watcher) hear() {
	for {
		n, _, err := unix.Recvfrom(w.fd, w.buf, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.ENOBUFS) || err == nil && n > len(w.buf):
			w.lost = true
			w.losses++
			continue
		case err != nil:
			w.lost = true
			return
		}
		for b := w.buf[:n]; len(b) >= unix.NLMSG_HDRLEN+4; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < unix.NLMSG_HDRLEN+4 || size > len(b) {
				w.lost = true
				return
			}
			w.event(binary.NativeEndian.Uint16(b[4:]), b[unix.NLMSG_HDRLEN:size])
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

func (w *watcher) event(typ uint16, body []byte) {
	const anyTable = 1 // NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE …
	if typ != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN {
		for t, b := range attributes(body[4:]) {
			if t == anyTable && body[0] == unix.NFPROTO_INET && text(b) == w.table {
				w.pending = true
			}
		}
		return
	}
	for t, b := range attributes(body[4:]) {
		if t == unix.NFTA_GEN_ID && len(b) == 4 {
			w.last = binary.BigEndian.Uint32(b)
		}
	}
	if w.pending {
		w.pending, w.any, w.own = false, true, w.last
		w.count++
	}
}

// listen returns the moment up to which everything was heard.
func (k *kernel) listen() moment {
	if k.w == nil {
		return moment{}
	}
	k.w.hear()
	return moment{k.w.count, k.w.losses, true}
}

// unheard runs f, which commits, without listening: where nobody does the kernel
// need not tell of every element. Afterwards all is known if f alone changed
// the ruleset meanwhile.
func (k *kernel) unheard(f func() error) error {
	if k.w == nil {
		return f()
	}
	before, err := k.generation()
	if err != nil {
		return err
	}
	commits := k.commits
	k.w.heard(before)
	if unix.SetsockoptInt(k.w.fd, unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, unix.NFNLGRP_NFTABLES) != nil {
		return f()
	}
	failed := f()
	if err := unix.SetsockoptInt(k.w.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.NFNLGRP_NFTABLES); err != nil {
		return errors.Join(failed, os.NewSyscallError("setsockopt", err))
	}
	after, err := k.generation()
	own := k.commits - commits
	if failed != nil || err != nil || after-before != own {
		k.w.lost = true
		k.w.losses++
		return errors.Join(failed, err)
	}
	if own > 0 {
		k.w.last, k.w.own, k.w.any = after, after, true
		k.w.count += int(own)
	}
	return nil
}

// heard waits until it knows everything up to a generation: who asks for the
// generation may see it before others hear of it.
func (w *watcher) heard(gen uint32) bool {
	const tries = 10_000 // some milliseconds
	for range tries {
		if w.hear(); int32(w.last-gen) >= 0 {
			return true
		}
		runtime.Gosched()
	}
	return false
}

// onlyOwn reports whether just so many transactions were about the table since
// a moment, and the generation until which that is so.
func (k *kernel) onlyOwn(since moment, own int) (gen uint32, ok bool) {
	gen, err := k.generation()
	if err != nil || !since.hears || k.w == nil || !k.w.heard(gen) {
		return gen, false
	}
	return gen, k.w.losses == since.losses && k.w.count-since.count == own
}

// onlyOthers reports whether nothing that happened after a generation, until
// another, was about the table. It says no if it does not know.
func (k *kernel) onlyOthers(after, until uint32) bool {
	return k.w != nil && k.w.heard(until) && !k.w.lost && !(k.w.any && int32(k.w.own-after) > 0)
}

// caughtUp says that the table is known as it is, whatever was missed before,
// if gen is still the generation: nothing else is on its way to be heard.
func (k *kernel) caughtUp(gen uint32) {
	if k.w == nil {
		return
	}
	k.w.hear()
	if now, err := k.generation(); err == nil && now == gen {
		k.w.lost, k.w.pending, k.w.last = false, false, gen
	}
}
