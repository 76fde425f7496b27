package main

import (
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatal(err)
	}
	const want = `alice's group: tcp 22 in from bob, udp 53 out to bob
  bob to alice, tcp 22   arrived by sg-alice/ssh
  alice's answer         arrived
  bob to alice, tcp 23   dropped: no_rule
  alice to bob, udp 53   arrived by sg-alice/dns
  alice to bob, udp 123  dropped: no_rule
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}
