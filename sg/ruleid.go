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
// only, such as "in-tcp-443-from-0.0.0.0/0", so that the same rule gets the
// same id each time it is read. Rules of the same content, and rules whose id
// is taken, get a number behind it.
func AssignIDs(rules []Rule) {
	used := make(map[RuleID]bool, len(rules))
	for _, r := range rules {
		used[r.ID] = true
	}
	for n := range rules {
		r := &rules[n]
		if r.ID != "" {
			continue
		}
		base := generateID(*r)
		r.ID = base
		for k := 2; used[r.ID]; k++ {
			r.ID = RuleID(fmt.Sprintf("%s-%d", base, k))
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
	id += side + strings.ReplaceAll(r.Peer.String(), " ", "-")
	if len(id) > maxGenerated {
		h := fnv.New64a()
		h.Write([]byte(id))
		id = fmt.Sprintf("%s-%016x", strings.ToValidUTF8(id[:maxGenerated], ""), h.Sum64())
	}
	return RuleID(id)
}
