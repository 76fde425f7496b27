package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"
	"time"
)

var (
	bothOrders = []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian}
	someIP     = []byte{0x45, 1, 2, 3, 4} // of a length that needs padding
)

func TestClock(t *testing.T) {
	at := func(sec, ns int64) time.Time { return time.Unix(sec, ns).UTC() }
	for _, c := range []struct {
		clock ngClock
		ticks uint64
		want  time.Time
	}{
		{ngClock{resolution: 6}, 1_500_000_001_000_002, at(1_500_000_001, 2000)},
		{ngClock{resolution: 9}, 1_500_000_001_000_000_002, at(1_500_000_001, 2)},
		{ngClock{resolution: 0}, 1_500_000_001, at(1_500_000_001, 0)},
		{ngClock{resolution: 3}, 1_500_000_001_007, at(1_500_000_001, 7_000_000)},
		{ngClock{resolution: 12}, 1_000_000_002_999, at(1, 2)},
		{ngClock{resolution: 12}, math.MaxUint64, at(18_446_744, 73_709_551)},
		{ngClock{resolution: 19}, math.MaxUint64, at(1, 844_674_407)},
		{ngClock{resolution: 20}, math.MaxUint64, at(0, 184_467_440)},
		{ngClock{resolution: 28}, math.MaxUint64, at(0, 1)},
		{ngClock{resolution: 29}, math.MaxUint64, at(0, 0)},
		{ngClock{resolution: 127}, math.MaxUint64, at(0, 0)},
		{ngClock{resolution: 0x80}, 77, at(77, 0)},
		{ngClock{resolution: 0x80 + 10}, 1024*5 + 512, at(5, 500_000_000)},
		{ngClock{resolution: 0x80 + 32}, 7<<32 + 1<<31 + 1<<30, at(7, 750_000_000)},
		{ngClock{resolution: 0x80 + 63}, math.MaxUint64, at(1, 999_999_999)},
		{ngClock{resolution: 0x80 + 64}, math.MaxUint64, at(0, 999_999_999)},
		{ngClock{resolution: 0x80 + 66}, math.MaxUint64, at(0, 249_999_999)},
		{ngClock{resolution: 0xff}, math.MaxUint64, at(0, 0)},
		{ngClock{resolution: 6, offset: 1000}, 2_000_003, at(1002, 3000)},
		{ngClock{resolution: 6, offset: -1000}, 2_000_003, at(-998, 3000)},
	} {
		if got := c.clock.time(c.ticks); !got.Equal(c.want) || got.Location() != time.UTC {
			t.Errorf("%+v, %d: %v, want %v", c.clock, c.ticks, got, c.want)
		}
	}
}

func TestInterfaceOptions(t *testing.T) {
	for _, order := range bothOrders {
		f := newNG(order)
		f.iface(LinkRaw, 0)
		f.iface(LinkIPv4, 0,
			f.option(2, []byte("a name")...),
			f.option(optResolution, 3),
			f.option(optTimeOffset, order.AppendUint64(nil, 100)...),
			f.option(optEnd))
		// Lengths that these options cannot have, and what stands after the end.
		f.iface(LinkIPv4, 0, f.option(optResolution, 3, 3), f.option(optTimeOffset, 1),
			f.option(optEnd), f.option(optResolution, 3))
		for i := range uint32(3) {
			f.enhanced(i, 5_000_000, len(someIP), someIP)
		}
		all := mustReadAll(t, f.b)
		for i, want := range []int64{5, 5100, 5} {
			if p := all[i]; p.Time.Unix() != want || !bytes.Equal(p.IP, someIP) {
				t.Errorf("%+v, want %d", p, want)
			}
		}
	}
}

func TestBlocks(t *testing.T) {
	for _, order := range bothOrders {
		f := newNG(order)
		f.block(0x0bad, []byte("nobody knows"))
		f.block(5)
		f.iface(LinkRaw, 6)
		f.block(blockSimple, f.words(5), someIP)               // whole
		f.block(blockSimple, f.words(7), someIP, []byte{9, 9}) // cut at the snap length
		f.block(blockSimple, f.words(100), someIP)             // less than the snap length
		f.block(blockPacket, f.halves(0, 9), f.words(0, 3_000_000, 5, 50), someIP)
		f.block(blockEnhanced, f.words(0, 0, 4_000_000, 5, 5), pad(bytes.Clone(someIP)), f.option(1, 'c'), f.option(optEnd))
		f.section() // forgets the interfaces
		f.iface(LinkLoop, 0)
		f.enhanced(0, 5_000_000, 9, append([]byte{0, 0, 0, 2}, someIP...))

		want := []struct {
			sec, length int
			cut         bool
			ip          []byte
		}{
			{0, 5, false, someIP},
			{0, 7, true, append(bytes.Clone(someIP), 9)},
			{0, 100, true, append(bytes.Clone(someIP), 0)},
			{3, 50, true, someIP},
			{4, 5, false, someIP},
			{5, 9, false, someIP},
		}
		all := mustReadAll(t, f.b)
		if len(all) != len(want) {
			t.Fatalf("%d packets", len(all))
		}
		for i, p := range all {
			w := want[i]
			if p.N != i+1 || p.Len != w.length || p.Truncated != w.cut || !bytes.Equal(p.IP, w.ip) {
				t.Errorf("packet %d: %+v, want %+v", i+1, p, w)
			}
			if w.sec == 0 != p.Time.IsZero() || w.sec != 0 && p.Time.Unix() != int64(w.sec) {
				t.Errorf("packet %d: at %v, want %d", i+1, p.Time, w.sec)
			}
		}
	}
}

// The packets of one interface may be unreadable, those of the others are not.
func TestLinkTypePerInterface(t *testing.T) {
	f := newNG(binary.LittleEndian)
	f.iface(220, 0)
	f.iface(LinkRaw, 0)
	f.enhanced(1, 0, 5, someIP)
	f.block(blockEnhanced, f.words(0, 0, 1_000_000, 5, 6), pad(bytes.Clone(someIP)), f.option(1, 'c'))
	f.enhanced(1, 0, 5, someIP)
	r, err := Open(bytes.NewReader(f.b))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := r.Next(); p.N != 1 || err != nil {
		t.Error(p, err)
	}
	p, err := r.Next()
	le, ok := errors.AsType[*LinkTypeError](err)
	if !ok || le.Type != 220 {
		t.Error(err)
	}
	if p.N != 2 || p.Time.Unix() != 1 || p.Len != 6 || !p.Truncated || p.IP != nil ||
		p.Note != "link type USB of Linux, memory-mapped (220)" {
		t.Errorf("%+v", p)
	}
	if p, err := r.Next(); p.N != 3 || err != nil {
		t.Error(p, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Error(err)
	}
}

func TestCorruptPcapng(t *testing.T) {
	for name, spoil := range map[string]func(f *ngFile){
		"an interface that is not":    func(f *ngFile) { f.enhanced(1, 0, 5, someIP) },
		"a simple one without any":    func(f *ngFile) { f.section(); f.block(blockSimple, f.words(5), someIP) },
		"longer than its block":       func(f *ngFile) { f.block(blockEnhanced, f.words(0, 0, 0, 9, 9), someIP) },
		"longer than is taken":        func(f *ngFile) { f.block(blockEnhanced, f.words(0, 0, 0, MaxPacket+1, 9), someIP) },
		"a packet without its header": func(f *ngFile) { f.block(blockEnhanced, f.words(0, 0)) },
		"an interface without one":    func(f *ngFile) { f.block(blockInterface, f.words(1)) },
		"an option out of its block":  func(f *ngFile) { f.iface(LinkRaw, 0, f.halves(1, 5), f.words(0)) },
		"a block of 8 bytes":          func(f *ngFile) { f.b = append(f.b, f.words(5, 8, 8, 0)...) },
		"a block of 13 bytes":         func(f *ngFile) { f.b = append(f.b, f.words(5, 13, 0, 13)...) },
		"two lengths":                 func(f *ngFile) { f.b = append(f.b, f.words(5, 16, 0, 20)...) },
		"two lengths, with a packet":  func(f *ngFile) { f.enhanced(0, 0, 5, someIP); f.b[len(f.b)-1]++ },
		"two lengths, and link type": func(f *ngFile) {
			f.iface(220, 0)
			f.enhanced(1, 0, 5, someIP)
			f.b[len(f.b)-1]++
		},
		"a short section": func(f *ngFile) { f.b = append(f.b, f.words(blockSection, 24, ngByteOrder, 1, 0, 24)...) },
		"no byte order":   func(f *ngFile) { f.block(blockSection, f.words(1, 1, 0, 0)) },
		"a later version": func(f *ngFile) { f.block(blockSection, f.words(ngByteOrder), f.halves(2, 0), f.words(0, 0)) },
		"a huge interface": func(f *ngFile) {
			f.iface(LinkRaw, 0, f.option(1, make([]byte, 65000)...), f.option(1, make([]byte, 999)...))
		},
		"too many interface": func(f *ngFile) {
			for range maxInterfaces {
				f.iface(LinkRaw, 0)
			}
		},
	} {
		for _, order := range bothOrders {
			f := newNG(order)
			f.iface(LinkRaw, 0)
			f.enhanced(0, 0, 5, someIP)
			spoil(f)
			all, err := readAll(f.b)
			if len(all) != 1 || !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %d packets, %v", name, len(all), err)
			}
		}
	}
}

// A block that nobody knows may be long and costs no memory.
func TestLongUnknownBlock(t *testing.T) {
	f := newNG(binary.LittleEndian)
	f.b = append(f.b, f.words(0x0bad, 0xfffffffc)...)
	zeros := io.LimitReader(zeroReader{}, 1<<27)
	r, err := Open(io.MultiReader(bytes.NewReader(f.b), zeros))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { clear(b); return len(b), nil }
