package nftables

import (
	"errors"
	"strings"
)

// Errors of the kernel side test with errors.Is; each comes inside an *Error.
// After every one of them but ErrCleanup the previous policy stays in force.
var (
	// ErrNoNFT means that the program nft could not be run.
	ErrNoNFT = errors.New("the program nft can not be run")
	// ErrPermission means that the process may not change nftables.
	ErrPermission = errors.New("no permission to change nftables")
	// ErrForeign means that a table of that name exists and is not this
	// package's.
	ErrForeign = errors.New("the table is not managed by secgroup")
	// ErrKernel means that the kernel lacks something that the ruleset needs.
	ErrKernel = errors.New("the kernel lacks a feature")
	// ErrNotApplied means that nft refused or did not finish.
	ErrNotApplied = errors.New("the ruleset was not applied")
	// ErrCount means that a set in the kernel does not hold what was put into
	// it.
	ErrCount = errors.New("a set was not loaded whole")
	// ErrCleanup means that the new policy is in force, and that something is
	// left to do which the next Apply, or Run, does.
	ErrCleanup = errors.New("the policy is in force, but not all is done")
	// ErrPlatform means that this is no Linux.
	ErrPlatform = errors.New("nftables needs Linux")
)

// Error is a failure of an operation of the Backend.
type Error struct {
	Op     string // "prepare", "apply", "check", "verify", "counters" or "remove"
	Err    error  // one of the Err values above, or of the system
	Detail string // what it was about, and what to do
	Output string // what nft said, shortened
}

// Error is "nftables: apply: ", the cause, what it was about and what nft said.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("nftables: " + e.Op + ": " + e.Err.Error())
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.Output != "" {
		b.WriteString(": " + e.Output)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// shortened keeps the first lines of what nft said.
func shortened(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	const most = 6
	if len(lines) > most {
		lines = append(lines[:most], "...")
	}
	s := strings.Join(lines, "\n")
	if len(s) > 2000 {
		s = s[:2000] + "..."
	}
	return s
}
