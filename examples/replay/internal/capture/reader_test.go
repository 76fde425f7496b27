package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// Cut at every byte, a file gives the packets that are whole and says that it
// was cut; Offset tells where every packet ends.
func TestTruncatedAnywhere(t *testing.T) {
	small := load(t, testdata, "demo.pcap")
	small = small[:rawRecords(small, binary.LittleEndian)[11].end]
	for name, file := range map[string][]byte{
		"pcap":   small,
		"pcapng": load(t, variants, "mixed.pcapng"),
		"sll2":   load(t, variants, "sll2.pcap"),
	} {
		t.Run(name, func(t *testing.T) {
			want := mustReadAll(t, file)
			ends := []int64{} // of the packets
			r, err := Open(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			for range want {
				if _, err := r.Next(); err != nil {
					t.Fatal(err)
				}
				ends = append(ends, r.Offset())
			}
			if name != "pcapng" {
				for i, rec := range rawRecords(file, binary.LittleEndian) {
					if ends[i] != int64(rec.end) {
						t.Errorf("packet %d ends at %d, want %d", i+1, ends[i], rec.end)
					}
				}
			}
			atEnd := 0
			for n := range len(file) {
				whole := 0
				for _, e := range ends {
					if e <= int64(n) {
						whole++
					}
				}
				got, err := readAll(file[:n])
				switch {
				case n < 4:
					if !errors.Is(err, ErrNotCapture) {
						t.Fatalf("cut at %d: %v", n, err)
					}
				case err == io.EOF:
					atEnd++
				case !errors.Is(err, ErrTruncated):
					t.Fatalf("cut at %d: %v", n, err)
				}
				if len(got) != whole {
					t.Fatalf("cut at %d: %d packets, want %d", n, len(got), whole)
				}
				compare(t, got, want[:whole])
			}
			// Between blocks is no middle; in pcapng there are blocks without
			// packets.
			if name != "pcapng" && atEnd != len(want) {
				t.Errorf("%d cuts were seen as the end of the file, want %d", atEnd, len(want))
			}
		})
	}
}

func TestErrorsStay(t *testing.T) {
	file := load(t, testdata, "demo.pcap")
	r, err := Open(bytes.NewReader(file[:30]))
	if err != nil {
		t.Fatal(err)
	}
	_, first := r.Next()
	_, second := r.Next()
	if !errors.Is(first, ErrTruncated) || second != first {
		t.Errorf("%v, then %v", first, second)
	}
	if want := "capture: after packet 0, at byte 30: the file ends in the middle of a record"; first.Error() != want {
		t.Errorf("%v", first)
	}

	broken := errors.New("the disk is on fire")
	r, err = Open(io.MultiReader(bytes.NewReader(file[:1000]), iotest.ErrReader(broken)))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = r.Next()
	}
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err = Open(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestNotACapture(t *testing.T) {
	for file, want := range map[string]string{
		"":                          "it has only 0 bytes",
		"\xd4\xc3":                  "it has only 2 bytes",
		"#!/bin/sh\necho hello\n":   "it begins with 23 21 2f 62",
		"\x1f\x8b\x08\x00 and more": "compressed with gzip",
		"\xa1\xb2\xcd\x34 modified": "it begins with a1 b2 cd 34",
	} {
		_, err := Open(strings.NewReader(file))
		if !errors.Is(err, ErrNotCapture) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestLinkTypeError(t *testing.T) {
	_, err := readAll(pcapFile(binary.BigEndian, pcapMicro, 127))
	le, ok := errors.AsType[*LinkTypeError](err)
	if !ok || le.Type != 127 {
		t.Fatal(err)
	}
	want := "capture: link type 802.11 with radiotap header (127) is not supported; supported are " +
		"null (0), Ethernet (1), raw IP (12), raw IP (14), raw IP (101), loop (108), Linux cooked (113), " +
		"raw IPv4 (228), raw IPv6 (229), Linux cooked v2 (276)"
	if err.Error() != want {
		t.Error(err)
	}
	_, err = readAll(pcapFile(binary.BigEndian, pcapMicro, 4711))
	if err == nil || !strings.HasPrefix(err.Error(), "capture: link type 4711 is not") {
		t.Error(err)
	}
	// 276 is 20 in eight bits.
	if _, err = readAll(pcapFile(binary.BigEndian, pcapMicro, 20)); err == io.EOF {
		t.Error("link type 20 is supported")
	}
	// The upper half is about the check sequence of the frames.
	if _, err = readAll(pcapFile(binary.BigEndian, pcapMicro, 0x54000001)); err != io.EOF {
		t.Error(err)
	}
}

// A length is not believed before its bytes are there.
func TestLyingLengths(t *testing.T) {
	le := binary.LittleEndian
	header := pcapFile(le, pcapMicro, 1)
	record := func(captured uint32) []byte {
		b := bytes.Clone(header)
		for _, v := range []uint32{1, 2, captured, captured} {
			b = le.AppendUint32(b, v)
		}
		return append(b, "some bytes"...)
	}
	for _, c := range []struct {
		n    uint32
		want error
	}{
		{11, ErrTruncated}, {MaxPacket, ErrTruncated}, {MaxPacket + 1, ErrCorrupt}, {math.MaxUint32, ErrCorrupt},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readAll(record(c.n))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.want) {
			t.Errorf("%d: %v", c.n, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<17 {
			t.Errorf("%d: %d bytes of memory", c.n, used)
		}
	}

	long := rawRecord{length: math.MaxUint32, data: bytes.Repeat([]byte{0x45}, MaxPacket)}
	all := mustReadAll(t, pcapFile(le, pcapMicro, 101, long))
	if len(all) != 1 || len(all[0].IP) != MaxPacket || !all[0].Truncated || all[0].Len != math.MaxInt32 {
		t.Error("the longest packet does not come as it is")
	}
}

func TestTruncatedPacket(t *testing.T) {
	ip := []byte{0x45, 0, 0, 99}
	for _, c := range []struct {
		length uint32
		cut    bool
	}{{4, false}, {5, true}, {3, false}} {
		all := mustReadAll(t, pcapFile(binary.BigEndian, pcapMicro, 101, rawRecord{length: c.length, data: ip}))
		if p := all[0]; p.Truncated != c.cut || p.Len != int(c.length) || !bytes.Equal(p.IP, ip) {
			t.Errorf("%d: %+v", c.length, p)
		}
	}
}

// The packets do not share memory with each other or the reader.
func TestPacketsAreKept(t *testing.T) {
	file := load(t, testdata, "demo.pcap")
	want := fmt.Sprint(mustReadAll(t, file))
	all := mustReadAll(t, file)
	for i := range all {
		if ip := all[i].IP; ip != nil {
			_ = append(ip, "overwritten?"...)
		}
	}
	if got := fmt.Sprint(all); got != want {
		t.Error("a packet has changed")
	}
}

func TestVersion(t *testing.T) {
	file := pcapFile(binary.BigEndian, pcapMicro, 1)
	file[5] = 3
	if _, err := readAll(file); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}
