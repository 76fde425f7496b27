package sg

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// maxGenerated bounds a generated id; a longer one is cut and told apart by a
// hash.
const maxGenerated = 120

// AssignIDs gives every rule without an id one that depends on its content
// only, such as "in-tcp-443-from-0.0.0.0/0": the same rule gets the same id
// each time it is read, in whatever order. An id that is written stands; of
// several rules that would get the same one, all but one get a number behind
// it. The rules at the indexes soft may lose their id to one that is written:
// those of a template are meant.
func AssignIDs(rules []Rule, soft ...int) {
	assign(rules, func(RuleID) bool { return false }, soft...)
}

// AssignNewIDs is AssignIDs for rules that come behind others: those have the
// ids that taken reports, and keep them.
func AssignNewIDs(rules []Rule, taken func(RuleID) bool) { assign(rules, taken) }

func assign(rules []Rule, taken func(RuleID) bool, soft ...int) {
	isSoft := make(map[int]bool, len(soft))
	for _, n := range soft {
		isSoft[n] = true
	}
	used := make(map[RuleID]bool, len(rules))
	reserved := make(map[RuleID]bool) // stays free for the rule that gets it by its content
	var open []int
	for n := range rules {
		switch r := &rules[n]; {
		case r.ID != "" && !isSoft[n]:
			used[r.ID] = true
		default:
			if r.ID == "" {
				r.ID = generateID(*r)
			}
			reserved[r.ID] = true
			open = append(open, n)
		}
	}
	tried := make(map[RuleID]int)
	for _, n := range open {
		r := &rules[n]
		if used[r.ID] || taken(r.ID) {
			base := r.ID
			for k := max(2, tried[base]+1); used[r.ID] || taken(r.ID) || reserved[r.ID]; k++ {
				r.ID = RuleID(fmt.Sprintf("%s-%d", base, k))
				tried[base] = k
			}
		}
		used[r.ID] = true
	}
}

func generateID(r Rule) RuleID {
	id, side := "in-", "-from-"
	if r.Direction == Egress {
		id, side = "out-", "-to-"
	}
	id += r.Protocol.String()
	if !r.Ports.IsZero() {
		id += "-" + r.Ports.String()
	}
	if !r.ICMP.IsAny() {
		id += "-type-" + r.ICMP.String()
	}
	if r.Family != FamilyAny {
		id += "-" + r.Family.String()
	}
	id += side + strings.Replace(r.Peer.String(), " ", "-", 1) // "group sg-web"; blanks of the id stay
	if len(id) > maxGenerated {
		h := fnv.New64a()
		h.Write([]byte(id))
		id = fmt.Sprintf("%s-%016x", strings.ToValidUTF8(id[:maxGenerated], ""), h.Sum64())
	}
	return RuleID(id)
}
