package main

import (
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs 127.0.0.2 on the loopback interface")
	}
	var out strings.Builder
	require.NoError(t, run(&out))
	got := regexp.MustCompile(`\b\d{4,5}\b`).ReplaceAllString(out.String(), "PORT")
	require.Equal(t, `policy: the service is open to 127.0.0.1
  127.0.0.1 tcp: echo hello
  127.0.0.1 udp: echo hello
  127.0.0.2 tcp: refused, no rule for tcp PORT from 127.0.0.2; nearest: sg-echo/tcp allows tcp PORT from 127.0.0.1/32 (127.0.0.2 is not in its peer)
  127.0.0.2 udp: refused, no rule for udp PORT from 127.0.0.2; nearest: sg-echo/udp allows udp PORT from 127.0.0.1/32 (127.0.0.2 is not in its peer)
policy: the service is open to 127.0.0.2
  127.0.0.1 tcp, the same connection: refused, no rule for tcp PORT from 127.0.0.1; nearest: sg-echo/tcp allows tcp PORT from 127.0.0.2/32 (127.0.0.1 is not in its peer)
  127.0.0.2 tcp: echo hello
  127.0.0.2 udp: echo hello
`, got)
}
