package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestUsage: a wrong command line measures nothing, and is told.
func TestUsage(t *testing.T) {
	if err := usage(1, time.Nanosecond, nil); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		`unexpected argument "memory"`: usage(7, time.Second, []string{"memory"}),
		"at least one round":           usage(0, time.Second, nil),
		"longer than nothing":          usage(7, 0, nil),
	} {
		checkUsage(t, err, want)
	}
}

func checkUsage(t *testing.T, err error, want string) {
	t.Helper()
	var wrong usageError
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) {
		t.Errorf("want a usage error with %q, got: %v", want, err)
	}
}

func TestChoose(t *testing.T) {
	trials := []trial{
		{name: "decode/ipv4", contestants: make([]contestant, 1)},
		{name: "decode/ipv6", contestants: make([]contestant, 1)},
		{name: "nobody"},
	}
	for only, want := range map[string]int{"": 2, "decode": 2, "ipv6$": 1} {
		chosen, err := choose(trials, only)
		if err != nil || len(chosen) != want {
			t.Errorf("%q: %d trials, %v", only, len(chosen), err)
		}
	}
	_, err := choose(trials, "nosuch")
	checkUsage(t, err, "-only nosuch: no trial has such a name; there are\n  decode/ipv4\n  decode/ipv6")
	_, err = choose(trials, "nobody")
	checkUsage(t, err, "-only nobody")
	_, err = choose(trials, "(")
	checkUsage(t, err, "-only: error parsing regexp")
}
