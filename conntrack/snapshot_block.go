package conntrack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
)

// blockWriter writes the frame of a snapshot.
type blockWriter struct {
	w     io.Writer
	sum   hash.Hash
	items []byte // of the block that is being filled, behind the room for its length
	count uint64 // connections
	begun bool
}

func newBlockWriter(w io.Writer) *blockWriter {
	return &blockWriter{w: w, sum: sha256.New(), items: make([]byte, 4, maxBlock+4+sha256.Size)}
}

// flush writes the block that is being filled.
func (f *blockWriter) flush() error {
	if len(f.items) == 4 {
		return nil
	}
	binary.BigEndian.PutUint32(f.items, uint32(len(f.items)-4))
	return f.write()
}

// end writes what is left, and the end.
func (f *blockWriter) end() error {
	if err := f.flush(); err != nil {
		return err
	}
	f.items = binary.BigEndian.AppendUint64(f.items, f.count)
	binary.BigEndian.PutUint32(f.items, 0)
	return f.write()
}

// write writes f.items and the digest, and begins another block.
func (f *blockWriter) write() error {
	if !f.begun {
		f.begun = true
		h := append([]byte(snapshotMagic), 0, snapshotVersion, 0, 0)
		f.sum.Write(h)
		if _, err := f.w.Write(h); err != nil {
			return err
		}
	}
	f.sum.Write(f.items)
	_, err := f.w.Write(f.sum.Sum(f.items))
	f.items = f.items[:4]
	return err
}

// blockReader reads the frame of a snapshot, block by block, into a buffer of
// fixed size, whatever lengths the file claims.
type blockReader struct {
	r     io.Reader
	sum   hash.Hash
	at    int64 // where the block begins
	buf   [4 + maxBlock + sha256.Size]byte
	count uint64 // connections that next has returned
}

func newBlockReader(r io.Reader) *blockReader { return &blockReader{r: r, sum: sha256.New()} }

// damaged returns the error for the byte that lies n behind the block's first.
func (f *blockReader) damaged(n int, what string) error {
	return &SnapshotError{f.at + int64(n), what, ErrSnapshotDamaged}
}

// read fills b, which lies n bytes behind the block's first.
func (f *blockReader) read(b []byte, n int) error {
	got, err := io.ReadFull(f.r, b)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return f.damaged(n+got, "the file ends")
	}
	return &SnapshotError{f.at + int64(n+got), "cannot be read", err}
}

// header reads what comes before the first block.
func (f *blockReader) header() error {
	h := f.buf[:snapshotHeader]
	if err := f.read(h, 0); err != nil {
		return err
	}
	if !bytes.HasPrefix(h, []byte(snapshotMagic)) {
		return f.damaged(0, "not a snapshot")
	}
	h = h[len(snapshotMagic):]
	if v := binary.BigEndian.Uint16(h); v != snapshotVersion {
		return &SnapshotError{int64(len(snapshotMagic)), "version not known", ErrSnapshotVersion}
	}
	if binary.BigEndian.Uint16(h[2:]) != 0 {
		return f.damaged(snapshotHeader-2, "not zero")
	}
	f.sum.Write(f.buf[:snapshotHeader])
	f.at = int64(snapshotHeader)
	return nil
}

// next calls f for the items of the next block, which has the right digest, and
// reports false behind the last one.
func (f *blockReader) next(each func(z Zone, name []byte, r *record)) (more bool, err error) {
	if err := f.read(f.buf[:4], 0); err != nil {
		return false, err
	}
	n := int64(binary.BigEndian.Uint32(f.buf[:]))
	last := n == 0
	if last {
		n = 8
	}
	if n > maxBlock {
		return false, f.damaged(0, "a block is too long")
	}
	b := f.buf[4 : 4+n]
	if err := f.read(f.buf[4:4+n+sha256.Size], 4); err != nil {
		return false, err
	}
	f.sum.Write(f.buf[:4+n])
	var digest [sha256.Size]byte
	if !bytes.Equal(f.sum.Sum(digest[:0]), f.buf[4+n:4+n+sha256.Size]) {
		return false, f.damaged(4+int(n), "wrong checksum")
	}
	if last {
		return false, f.finish(binary.BigEndian.Uint64(b))
	}
	if err := f.items(b, each); err != nil {
		return false, err
	}
	f.at += 4 + n + sha256.Size
	return true, nil
}

// finish checks what is behind the last block.
func (f *blockReader) finish(count uint64) error {
	if count != f.count {
		return f.damaged(4, "another number of connections")
	}
	f.at += 4 + 8 + sha256.Size
	switch n, err := io.ReadFull(f.r, f.buf[:1]); {
	case n != 0:
		return f.damaged(0, "more behind the end")
	case err != io.EOF:
		return &SnapshotError{f.at, "cannot be read", err}
	}
	return nil
}

// items calls each for the connections in b, with the zone of each.
func (f *blockReader) items(b []byte, each func(z Zone, name []byte, r *record)) error {
	var z Zone
	var name []byte
	var r record
	ready := false // there was a zone
	for whole := len(b); len(b) > 0; {
		at := 4 + whole - len(b)
		n := 0
		switch b[0] {
		case itemZone:
			z, name, n = cutZone(b)
			ready = n != 0
		case itemPlain, itemTCP:
			if n = r.parse(z, b); n == 0 || !ready {
				return f.damaged(at, "not a connection")
			}
			f.count++
			each(z, name, &r)
		}
		if n == 0 {
			return f.damaged(at, "not an item")
		}
		b = b[n:]
	}
	return nil
}
