package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"
)

const (
	testdata = "../../testdata"
	variants = testdata + "/variants"
)

// someDemo is how many packets of demo.pcap its variants repeat.
const someDemo = 10

func load(t testing.TB, name ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(name...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readAll gives the packets of a file up to an error, which may be io.EOF.
func readAll(file []byte) ([]Packet, error) {
	r, err := Open(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	var all []Packet
	for {
		p, err := r.Next()
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
}

func mustReadAll(t testing.TB, file []byte) []Packet {
	t.Helper()
	all, err := readAll(file)
	if err != io.EOF {
		t.Fatalf("after %d packets: %v", len(all), err)
	}
	return all
}

// rawRecord is a record of a pcap file, as this other, careless reader of the
// tests sees it.
type rawRecord struct {
	sec, frac, length uint32
	data              []byte
	end               int // offset in the file
}

func rawRecords(file []byte, order binary.ByteOrder) []rawRecord {
	var all []rawRecord
	for at := 24; at < len(file); {
		n := int(order.Uint32(file[at+8:]))
		all = append(all, rawRecord{
			sec:    order.Uint32(file[at:]),
			frac:   order.Uint32(file[at+4:]),
			length: order.Uint32(file[at+12:]),
			data:   file[at+16 : at+16+n],
			end:    at + 16 + n,
		})
		at += 16 + n
	}
	return all
}

func pcapFile(order binary.AppendByteOrder, magic, link uint32, records ...rawRecord) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	for _, v := range []uint32{0, 0, 65535, link} {
		b = order.AppendUint32(b, v)
	}
	for _, r := range records {
		for _, v := range []uint32{r.sec, r.frac, uint32(len(r.data)), r.length} {
			b = order.AppendUint32(b, v)
		}
		b = append(b, r.data...)
	}
	return b
}

// ngFile builds a pcapng file.
type ngFile struct {
	order binary.AppendByteOrder
	b     []byte
}

func newNG(order binary.AppendByteOrder) *ngFile {
	f := &ngFile{order: order}
	f.section()
	return f
}

func (f *ngFile) section() {
	f.block(blockSection, f.words(ngByteOrder), f.halves(1, 0), f.words(0xffffffff, 0xffffffff))
}

func (f *ngFile) words(v ...uint32) (b []byte) {
	for _, w := range v {
		b = f.order.AppendUint32(b, w)
	}
	return b
}

func (f *ngFile) halves(v ...uint16) (b []byte) {
	for _, w := range v {
		b = f.order.AppendUint16(b, w)
	}
	return b
}

func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

func (f *ngFile) block(kind uint32, parts ...[]byte) {
	body := pad(bytes.Join(parts, nil))
	n := uint32(len(body) + 12)
	f.b = append(f.b, f.words(kind, n)...)
	f.b = append(f.b, body...)
	f.b = append(f.b, f.words(n)...)
}

func (f *ngFile) option(code uint16, value ...byte) []byte {
	n := uint16(len(value))
	return append(f.halves(code, n), pad(bytes.Clone(value))...)
}

func (f *ngFile) iface(link LinkType, snap uint32, options ...[]byte) {
	f.block(blockInterface, f.halves(uint16(link), 0), f.words(snap), bytes.Join(options, nil))
}

func (f *ngFile) enhanced(iface uint32, ticks uint64, length int, data []byte) {
	f.block(blockEnhanced,
		f.words(iface, uint32(ticks>>32), uint32(ticks), uint32(len(data)), uint32(length)), pad(bytes.Clone(data)))
}
