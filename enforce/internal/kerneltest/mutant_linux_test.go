package kerneltest

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// find returns the shortest walk to a difference without a name that is found
// in so many walks, "" if there is none.
func (j *judge) find(walks int) string {
	const batch = 100
	for done := 0; done < walks; done += batch {
		g := random{rand.New(rand.NewPCG(*seed, uint64(1000+done)))}
		pair := [2]rules{g.policy()}
		pair[0] = append(pair[0], rule{in: true, proto: 17, first: 53, last: 54, typ: -1, code: -1})
		pair[1] = g.next(pair[0])
		var trials []trial
		for range batch {
			trials = append(trials, g.trial(pair))
		}
		j.reserve(batch)
		for i, r := range j.judge(trials) {
			for _, k := range r.differ(trials[i]) {
				if j.look(trials[i], r, k).name() == "" {
					return j.shortest(trials[i], "")
				}
			}
		}
	}
	return ""
}

// TestMutants: whatever is wrong with the kernel's rules or with the way in
// which it tracks is found, and is no difference that has a name.
func TestMutants(t *testing.T) {
	replace := func(old, text string) func(string) string {
		return func(s string) string { return strings.ReplaceAll(s, old, text) }
	}
	each := func(pattern string, f func(string) string) func(string) string {
		re := regexp.MustCompile(pattern)
		return func(s string) string { return re.ReplaceAllStringFunc(s, f) }
	}
	increased := func(prefix string, by int) func(string) string {
		return func(s string) string {
			n, err := strconv.Atoi(strings.TrimPrefix(s, prefix))
			require.NoError(t, err)
			if n += by; n > 65535 {
				return s
			}
			return prefix + strconv.Itoa(n)
		}
	}
	for _, m := range []struct {
		name           string
		skew           func(string) string
		sysctls, value string
	}{
		{name: "nothing is invalid", skew: replace("ct state invalid drop", "")},
		{name: "nothing is established", skew: replace("established,related", "related")},
		{name: "nothing is related", skew: replace("established,related", "established")},
		{name: "UDP is not established", skew: replace("ct state invalid drop", "ct state invalid drop; ct state established meta l4proto udp drop")},
		{name: "replies of ICMP are not established", skew: replace("ct state invalid drop", "ct state invalid drop; ct state established icmp type echo-reply drop")},
		{name: "IPv6 fragments are refused", skew: replace("ct state invalid drop", "ct state invalid drop; meta nfproto ipv6 meta length 60-90 drop")},
		{name: "the last port is not", skew: each(`-[0-9]+ accept`, func(s string) string {
			n, _ := strconv.Atoi(s[1:strings.IndexByte(s, ' ')])
			return "-" + strconv.Itoa(min(n+1, 65535)) + " accept"
		})},
		{name: "prefixes are one bit narrower", skew: each(`/(24|25|26|29|48|49|64)`, increased("/", 1))},
		{name: "TCP is UDP", skew: replace("tcp dport", "udp dport")},
		{name: "codes of ICMP do not count", skew: each(`icmp(v6)? code [0-9]+ `, func(string) string { return "" })},
		{name: "in is out", skew: func(s string) string {
			return strings.NewReplacer("oifname", "iifname", "iifname", "oifname").Replace(s)
		}},
		{name: "one rule is lost", skew: replace(`oifname "sg0" udp dport 53-54 accept`, "")},
		{name: "TCP is picked up", sysctls: "net.netfilter.nf_conntrack_tcp_loose", value: "1"},
		{name: "TCP has no windows", sysctls: "net.netfilter.nf_conntrack_tcp_be_liberal", value: "1"},
	} {
		t.Run(m.name, func(t *testing.T) {
			j := newJudge(t)
			j.skew = m.skew
			if m.sysctls != "" {
				require.NoError(t, j.lab.Sysctl(m.sysctls, m.value))
			}
			text := j.find(20000)
			require.NotEmpty(t, text, "not found in %d packets", j.sent)
			tr, _, err := parseTrial(text)
			require.NoError(t, err)
			require.LessOrEqual(t, len(tr.steps), 8, text)
			t.Logf("%d packets\n%s", j.sent, text)
		})
	}
	t.Run("none", func(t *testing.T) {
		require.Empty(t, newJudge(t).find(2000))
	})
}
