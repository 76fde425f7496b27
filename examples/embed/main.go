// Command embed is the smallest program that filters packets with the library.
package main

import (
	"context"
	"fmt"
	"log"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy/document"
)

const policy = `{"profile": "strict",
 "security_groups": [{"id": "sg-web", "name": "web",
   "inbound_rules": [{"id": "https", "protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0"}]}],
 "interfaces": [{"id": "web-1", "addresses": ["10.0.0.5"], "security_group_ids": ["sg-web"]}]}`

func main() {
	snapshot, err := document.Decode([]byte(policy), document.Options{Profiles: dialect.Profile})
	if err != nil {
		log.Fatal(err) // every fault, with its path
	}
	matcher, err := compile.Compile(snapshot)
	if err != nil {
		log.Fatal(err)
	}
	engine := enforce.NewEngine(enforce.Options{})
	engine.Apply(context.Background(), matcher)

	verdict := engine.Port("web-1").Filter(sg.Ingress, synPacket())
	rule, _ := engine.Rule(verdict.Rule)
	fmt.Println(verdict.Action, verdict.Reason, rule) // accept rule sg-web/https
}

// synPacket is a TCP SYN from 192.0.2.7:40001 to 10.0.0.5:443, IP header first.
func synPacket() []byte {
	return []byte{
		0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 7, 10, 0, 0, 5,
		0x9c, 0x41, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
	}
}
