package policy

import (
	"cmp"
	"hash/maphash"
	"slices"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/cow"
)

// ruleList is the rules of a group in order, with what tells whether a rule
// like another is among them. A clone costs one pointer per 128 to 256 rules
// and map, and an edit of it what it edits. Beside the rules it takes 48 to 96
// bytes for each.
type ruleList struct {
	seed  maphash.Seed
	last  uint64                     // the highest place that was given
	at    *cow.Map[uint64, *sg.Rule] // by place: a rule keeps its place while it is replaced
	ids   *cow.Map[spot, struct{}]   // by hash of the id
	keys  *cow.Map[spot, struct{}]   // by hash of sg.Rule.Key
	peers *cow.Map[reference, int]   // how many rules name a group or set
	count [2][2]int                  // rules by direction and family
}

// spot is a place of a rule, to be found by a hash.
type spot struct{ hash, place uint64 }

func compareSpots(a, b spot) int {
	if a.hash != b.hash {
		return cmp.Compare(a.hash, b.hash)
	}
	return cmp.Compare(a.place, b.place)
}

// newRuleList returns the list of rules, and refers to them.
func newRuleList(rules []sg.Rule) *ruleList {
	l := &ruleList{
		seed:  maphash.MakeSeed(),
		at:    cow.New[uint64, *sg.Rule](cmp.Compare[uint64]),
		ids:   cow.New[spot, struct{}](compareSpots),
		keys:  cow.New[spot, struct{}](compareSpots),
		peers: cow.New[reference, int](compareReferences),
	}
	ids, keys := make([]spot, len(rules)), make([]spot, len(rules))
	for i := range rules {
		r := &rules[i]
		l.last++
		l.at.Set(l.last, r)
		ids[i], keys[i] = spot{l.hashID(r.ID), l.last}, spot{l.hashKey(r.Key()), l.last}
		l.tally(r, 1)
	}
	slices.SortFunc(ids, compareSpots)
	slices.SortFunc(keys, compareSpots)
	for i := range ids {
		l.ids.Set(ids[i], struct{}{})
		l.keys.Set(keys[i], struct{}{})
	}
	return l
}

func (l *ruleList) clone() *ruleList {
	c := *l
	c.at, c.ids, c.keys, c.peers = l.at.Clone(), l.ids.Clone(), l.keys.Clone(), l.peers.Clone()
	return &c
}

func (l *ruleList) hashID(id sg.RuleID) uint64 { return maphash.String(l.seed, string(id)) }
func (l *ruleList) hashKey(key sg.Rule) uint64 { return maphash.Comparable(l.seed, key) }
func (l *ruleList) size() int                  { return l.at.Len() }

// rules returns the rules in order.
func (l *ruleList) rules() []sg.Rule {
	out := make([]sg.Rule, 0, l.at.Len())
	for _, r := range l.at.All() {
		out = append(out, *r)
	}
	return out
}

// get returns the rule at a place, nil if there is none.
func (l *ruleList) get(place uint64) *sg.Rule {
	r, _ := l.at.Get(place)
	return r
}

// find returns the place of the first rule with that id.
func (l *ruleList) find(id sg.RuleID) (place uint64, ok bool) {
	hash := l.hashID(id)
	for s := range l.ids.From(spot{hash: hash}) {
		if s.hash != hash {
			break
		}
		if l.get(s.place).ID == id {
			return s.place, true
		}
	}
	return 0, false
}

// alone reports whether no other rule has the id, or the key, of the rule at a
// place.
func (l *ruleList) alone(place uint64) bool {
	r := l.get(place)
	key := r.Key()
	hash := l.hashID(r.ID)
	for s := range l.ids.From(spot{hash: hash}) {
		if s.hash != hash {
			break
		}
		if s.place != place && l.get(s.place).ID == r.ID {
			return false
		}
	}
	hash = l.hashKey(key)
	for s := range l.keys.From(spot{hash: hash}) {
		if s.hash != hash {
			break
		}
		if s.place != place && l.get(s.place).Key() == key {
			return false
		}
	}
	return true
}

// add puts a rule behind the others and returns its place.
func (l *ruleList) add(r *sg.Rule) uint64 {
	l.last++
	l.set(l.last, r)
	return l.last
}

// set puts a rule to a place where none is.
func (l *ruleList) set(place uint64, r *sg.Rule) {
	l.at.Set(place, r)
	l.ids.Set(spot{l.hashID(r.ID), place}, struct{}{})
	l.keys.Set(spot{l.hashKey(r.Key()), place}, struct{}{})
	l.tally(r, 1)
}

// remove takes the rule from a place where one is.
func (l *ruleList) remove(place uint64) {
	r := l.get(place)
	l.at.Delete(place)
	l.ids.Delete(spot{l.hashID(r.ID), place})
	l.keys.Delete(spot{l.hashKey(r.Key()), place})
	l.tally(r, -1)
}

// tally counts r n times more.
func (l *ruleList) tally(r *sg.Rule, n int) {
	if ref, ok := target(r.Peer); ok {
		have, _ := l.peers.Get(ref)
		if have += n; have > 0 {
			l.peers.Set(ref, have)
		} else {
			l.peers.Delete(ref)
		}
	}
	if !r.Direction.Valid() {
		return
	}
	family := r.EffectiveFamily()
	for i, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		if family.Matches(f) {
			l.count[r.Direction-sg.Ingress][i] += n
		}
	}
}

// endsWith reports whether the last rules are at those places, in any order,
// and equal those of list.
func (l *ruleList) endsWith(places []uint64, list []sg.Rule) bool {
	if len(places) != len(list) {
		return false
	}
	places = slices.Sorted(slices.Values(places))
	i := 0
	for place, r := range l.at.Tail(len(list)) {
		if place != places[i] || *r != list[i] {
			return false
		}
		i++
	}
	return true
}
