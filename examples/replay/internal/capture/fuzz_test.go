package capture

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

// FuzzReader reads any bytes as a capture file: it must end, in an error of
// the known kinds, and everything that Packet promises must hold.
//
// Give -fuzzminimizetime=20x: the go command otherwise spends a minute at a
// time on making an input shorter and runs nothing else.
func FuzzReader(f *testing.F) {
	for _, pattern := range []string{testdata + "/*.pcap", variants + "/*.pcap*"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			f.Fatal(pattern, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b[:min(len(b), 4096)])
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		all, err := walk(t, bytes.NewReader(file), len(file))
		again, errAgain := walk(t, iotest.HalfReader(bytes.NewReader(file)), len(file))
		if err.Error() != errAgain.Error() {
			t.Errorf("%v, in pieces %v", err, errAgain)
		}
		compare(t, again, all)

		// A part of the file gives a part of the packets.
		half, _ := walk(t, bytes.NewReader(file[:len(file)/2]), len(file)/2)
		if len(half) > len(all) {
			t.Fatalf("%d packets in half of the file, %d in all", len(half), len(all))
		}
		compare(t, half, all[:len(half)])
	})
}

func walk(t *testing.T, in io.Reader, size int) ([]Packet, error) {
	r, err := Open(in)
	var all []Packet
	for err == nil {
		var p Packet
		before := r.Offset()
		p, err = r.Next()
		_, skipped := errors.AsType[*LinkTypeError](err)
		if err != nil && !skipped {
			break
		}
		err = nil
		all = append(all, p)
		switch {
		case p.N != len(all):
			t.Fatalf("packet %d has the number %d", len(all), p.N)
		case (p.IP == nil) != (p.Note != ""):
			t.Fatalf("neither or both: %+v", p)
		case p.IP != nil && p.IP[0]>>4 != 4 && p.IP[0]>>4 != 6:
			t.Fatalf("not IP: %+v", p)
		case p.Len < 0:
			t.Fatalf("length %d", p.Len)
		case r.Offset() < before+16 || r.Offset() > int64(size):
			t.Fatalf("offset %d after %d of %d", r.Offset(), before, size)
		case int64(len(p.IP)) > r.Offset()-before-16:
			t.Fatalf("%d bytes out of %d", len(p.IP), r.Offset()-before)
		}
	}
	_, isLink := errors.AsType[*LinkTypeError](err)
	if err != io.EOF && !isLink &&
		!errors.Is(err, ErrNotCapture) && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrCorrupt) {
		t.Fatalf("an error of no known kind: %v", err)
	}
	return all, err
}
