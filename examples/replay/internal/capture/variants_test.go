package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"reflect"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// gopacketIP is what gopacket takes for the IP packet of a frame.
func gopacketIP(link LinkType, frame []byte) []byte {
	var first gopacket.Decoder = layers.LinkType(link)
	if link == LinkSLL2 { // gopacket does not know it
		first = layers.EthernetType(binary.BigEndian.Uint16(frame))
		frame = frame[20:]
	}
	n := gopacket.NewPacket(frame, first, gopacket.Default).NetworkLayer()
	if n == nil {
		return nil
	}
	return append(bytes.Clone(n.LayerContents()), n.LayerPayload()...)
}

func TestVariants(t *testing.T) {
	demo := mustReadAll(t, load(t, testdata, "demo.pcap"))
	if len(demo) < 60 || len(demo) > 130 {
		t.Errorf("demo.pcap has %d packets", len(demo))
	}
	onlyIP := func(all []Packet) (some []Packet) {
		for _, p := range all {
			if p.IP != nil {
				some = append(some, p)
			}
		}
		return some
	}
	for _, v := range []struct {
		file string
		link LinkType
		want []Packet
	}{
		{testdata + "/demo.pcap", LinkEthernet, demo},
		{variants + "/vlan.pcap", LinkEthernet, demo[:someDemo]},
		{variants + "/qinq.pcap", LinkEthernet, demo[:someDemo]},
		{variants + "/sll.pcap", LinkSLL, demo[:someDemo]},
		{variants + "/sll2.pcap", LinkSLL2, demo[:someDemo]},
		{variants + "/raw.pcap", LinkRaw, onlyIP(demo[:someDemo])},
	} {
		t.Run(v.file, func(t *testing.T) {
			file := load(t, v.file)
			if got := LinkType(binary.LittleEndian.Uint32(file[20:])); got != v.link {
				t.Fatalf("link type %v, want %v", got, v.link)
			}
			records := rawRecords(file, binary.LittleEndian)
			got := mustReadAll(t, file)
			if len(got) != len(v.want) || len(got) != len(records) {
				t.Fatalf("%d packets, want %d of %d", len(got), len(v.want), len(records))
			}
			for i, p := range got {
				r := records[i]
				if p.N != i+1 || p.Truncated || p.Len != len(r.data) {
					t.Errorf("packet %d: %+v", i+1, p)
				}
				if !p.Time.Equal(time.Unix(int64(r.sec), int64(r.frac)*1000)) {
					t.Errorf("packet %d: at %v", i+1, p.Time)
				}
				if p.Note != v.want[i].Note || !bytes.Equal(p.IP, v.want[i].IP) {
					t.Errorf("packet %d: %q % x\nin the demo:  %q % x", i+1, p.Note, p.IP, v.want[i].Note, v.want[i].IP)
				}
				if other := gopacketIP(v.link, r.data); !bytes.Equal(p.IP, other) {
					t.Errorf("packet %d: % x\ngopacket:  % x", i+1, p.IP, other)
				}
			}
		})
	}
}

// The file has two sections, each with the same packets: four of Ethernet,
// recorded in full, four of raw IP, four of SLL2, and two simple ones with a
// snap length of 80.
func TestMixedPcapng(t *testing.T) {
	demo := mustReadAll(t, load(t, testdata, "demo.pcap"))
	raw := mustReadAll(t, load(t, variants, "raw.pcap"))
	sll2 := mustReadAll(t, load(t, variants, "sll2.pcap"))
	got := mustReadAll(t, load(t, variants, "mixed.pcapng"))

	var want []Packet
	want = append(want, demo[:4]...)
	want = append(want, raw[:4]...)
	want = append(want, sll2[:4]...)
	want = append(want, demo[8:10]...)
	want = append(want, want...)
	if len(got) != len(want) {
		t.Fatalf("%d packets, want %d", len(got), len(want))
	}
	for i, p := range got {
		w := want[i]
		if p.N != i+1 || p.Len != w.Len || p.Note != w.Note || !bytes.Equal(p.IP, w.IP) {
			t.Errorf("packet %d: %+v\nwant %+v", i+1, p, w)
		}
		switch k := i % 14; {
		case k >= 12 && !p.Time.IsZero():
			t.Errorf("packet %d: a simple packet of %v", i+1, p.Time)
		case k < 12:
			// The clock of the third interface counts 2^-20 seconds.
			if d := w.Time.Sub(p.Time); d < 0 || d > time.Microsecond || k < 8 && d != 0 {
				t.Errorf("packet %d: at %v, want %v", i+1, p.Time, w.Time)
			}
		}
	}
}

// A file is the same in every byte order and with every kind of fraction.
func TestByteOrders(t *testing.T) {
	file := load(t, testdata, "demo.pcap")
	records := rawRecords(file, binary.LittleEndian)
	want := mustReadAll(t, file)
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for magic, unit := range map[uint32]uint32{pcapMicro: 1, pcapNano: 1000} {
			t.Run(fmt.Sprintf("%v %x", order, magic), func(t *testing.T) {
				scaled := make([]rawRecord, len(records))
				for i, r := range records {
					r.frac *= unit
					scaled[i] = r
				}
				compare(t, mustReadAll(t, pcapFile(order, magic, 1, scaled...)), want)
			})
		}
		t.Run(fmt.Sprint(order, " pcapng"), func(t *testing.T) {
			f := newNG(order)
			f.iface(LinkEthernet, 0)
			for _, r := range records {
				f.enhanced(0, uint64(r.sec)*1e6+uint64(r.frac), int(r.length), r.data)
			}
			compare(t, mustReadAll(t, f.b), want)
		})
	}
}

func compare(t *testing.T, got, want []Packet) {
	t.Helper()
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// The pieces in which the file arrives make no difference.
func TestSlowReader(t *testing.T) {
	for _, name := range []string{testdata + "/demo.pcap", variants + "/mixed.pcapng"} {
		file := load(t, name)
		r, err := Open(iotest.OneByteReader(bytes.NewReader(file)))
		if err != nil {
			t.Fatal(err)
		}
		var got []Packet
		for {
			p, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, p)
		}
		compare(t, got, mustReadAll(t, file))
		if r.Offset() != int64(len(file)) {
			t.Errorf("%s: offset %d of %d", name, r.Offset(), len(file))
		}
	}
}
