package capture_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"example.com/secgroup/examples/replay/internal/capture"
)

func Example() {
	file, err := os.Open("../../testdata/demo.pcap")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()

	r, err := capture.Open(file)
	if err != nil {
		log.Fatal(err)
	}
	versions := map[byte]string{4: "IPv4", 6: "IPv6"}
	for {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		if errors.Is(err, capture.ErrTruncated) {
			fmt.Println("the capture was interrupted")
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		if p.N > 6 {
			break // enough for an example
		}
		if p.IP == nil {
			fmt.Println(p.N, p.Note)
			continue
		}
		fmt.Println(p.N, versions[p.IP[0]>>4], len(p.IP), "bytes")
	}
	// Output:
	// 1 arp
	// 2 arp
	// 3 IPv4 44 bytes
	// 4 IPv4 44 bytes
	// 5 IPv6 72 bytes
	// 6 IPv6 72 bytes
}
