package nftables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
)

// outputError is a failure of a program and what it said.
type outputError struct {
	err    error
	output string
}

func (e *outputError) Error() string { return e.err.Error() + ": " + shortened(e.output) }
func (e *outputError) Unwrap() error { return e.err }

// classify says what a failure of nft or of netlink means and what to do.
func classify(op string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	e := &Error{Op: op, Err: ErrNotApplied, Output: shortened(err.Error())}
	var out *outputError
	if errors.As(err, &out) {
		if e.Output = shortened(out.output); e.Output == "" {
			e.Output = out.err.Error()
		}
	}
	says := func(s string) bool { return strings.Contains(e.Output, s) }
	switch {
	case errors.Is(err, ErrPlatform):
		e.Err, e.Output = ErrPlatform, ""
	case errors.Is(err, ErrCount):
		e.Err, e.Detail = ErrCount, "apply again"
	case errors.Is(err, context.Canceled):
		e.Err = fmt.Errorf("%w (%w)", ErrNotApplied, context.Canceled)
		e.Detail, e.Output = "called off before nft had finished", ""
	case errors.Is(err, context.DeadlineExceeded):
		e.Err = fmt.Errorf("%w (%w)", ErrNotApplied, context.DeadlineExceeded)
		e.Detail, e.Output = "nft did not finish in time", ""
	case errors.Is(err, exec.ErrNotFound), out != nil && errors.Is(err, fs.ErrNotExist):
		e.Err, e.Detail, e.Output = ErrNoNFT, "install nftables 1.0 or newer, or put nft on the PATH", ""
	case errors.Is(err, fs.ErrPermission) && out != nil && !says("Operation not permitted"):
		e.Err, e.Detail = ErrNoNFT, "nft on the PATH is not a program that this process may run"
	case errors.Is(err, fs.ErrPermission), says("Operation not permitted"), says("you must be root"):
		e.Err, e.Detail = ErrPermission, "run with CAP_NET_ADMIN in the network namespace"
	case says("syntax error"):
		e.Detail = "nft does not read the ruleset: it takes nftables 1.0 or newer"
	case says("Message too long"), says("message too long"):
		e.Detail = "the ruleset is larger than a transaction may be here: raise net.core.wmem_max, or run outside a user namespace"
	case says("No space left on device"):
		e.Detail = "nft found no space for its files: make room and apply again"
	}
	return e
}

// probes are small rulesets for what not every kernel can do.
func probes() map[string]string {
	table := func(body string) string { return "table inet secgroup_probe {\n" + body + "\n}\n" }
	chain := func(hook, rule string) string {
		return table("chain c {\n type filter hook " + hook + " priority 0; policy accept;\n " + rule + "\n}")
	}
	return map[string]string{
		"nf_tables with family inet (CONFIG_NF_TABLES_INET)":                                 table(""),
		"connection tracking in nf_tables (CONFIG_NFT_CT)":                                   chain("forward", "ct state invalid drop"),
		"connection tracking zones (CONFIG_NF_CONNTRACK_ZONES)":                              chain("prerouting", "ct zone set 1"),
		"connection marks (CONFIG_NF_CONNTRACK_MARK)":                                        chain("forward", "ct mark set 1"),
		"route look-ups (CONFIG_NFT_FIB_INET)":                                               chain("prerouting", "fib saddr . iif oif exists accept"),
		"ranges in concatenations (Linux 5.6)":                                               table("set s {\n type ifname . ipv4_addr\n flags interval\n elements = { \"a\" . 192.0.2.0/24 }\n}"),
		"named counters and comments on them (Linux 5.10)":                                   table("counter c {\n comment \"x\"\n}"),
		"verdict maps by name of device":                                                     table("map m {\n type ifname : verdict\n elements = { \"a\" : drop }\n}"),
		"reject at prerouting (Linux 5.9, CONFIG_NFT_REJECT_INET; only with Options.Reject)": chain("prerouting", "meta l4proto tcp reject with tcp reset"),
	}
}

// missing names what the kernel can not do, "" if it can do all. It changes
// nothing.
func missing(ctx context.Context, program string) string {
	var out []string
	all := probes()
	for _, name := range sortedKeys(all) {
		var failed *outputError
		err := runNFT(ctx, program, []byte(all[name]), "-c", "-f", "-")
		if errors.As(err, &failed) && (strings.Contains(failed.output, "not supported") || strings.Contains(failed.output, "No such file")) {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}
