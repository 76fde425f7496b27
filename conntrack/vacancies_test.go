package conntrack

import (
	"testing"

	"pgregory.net/rapid"
)

// TestVacancies: what is taken was given and not yet taken, next tells what take
// takes, and neighbours that are given in a row need no memory.
func TestVacancies(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const slots = 2000
		var v vacancies
		v.init(slots)
		taken, free := []uint32{}, map[uint32]bool{}
		for slot := range uint32(slots) {
			taken = append(taken, slot+1)
		}
		for range rapid.IntRange(1, 8).Draw(rt, "rounds") {
			n := rapid.IntRange(0, len(taken)).Draw(rt, "given")
			switch rapid.IntRange(0, 2).Draw(rt, "order") {
			case 0: // as they lie
			case 1:
				for i := range n / 2 {
					taken[i], taken[n-1-i] = taken[n-1-i], taken[i]
				}
			case 2: // every third one
				for i := range n {
					j := i * 3 % max(n, 1)
					taken[i], taken[j] = taken[j], taken[i]
				}
			}
			for _, slot := range taken[:n] {
				v.give(slot)
				free[slot] = true
			}
			taken = taken[n:]
			ahead := v.next(make([]uint32, rapid.IntRange(0, slots+1).Draw(rt, "ahead")))
			for i := range rapid.IntRange(0, slots).Draw(rt, "taken") {
				slot := v.take()
				if i < len(ahead) && ahead[i] != slot || slot != 0 && !free[slot] || slot == 0 && len(free) != 0 {
					rt.Fatalf("%d, of %d", slot, len(free))
				}
				if slot == 0 {
					break
				}
				delete(free, slot)
				taken = append(taken, slot)
			}
			if all := v.next(make([]uint32, slots+1)); len(all) != len(free) {
				rt.Fatalf("%d, want %d", len(all), len(free))
			}
		}
	})
	var v vacancies
	v.init(chunkSize)
	for slot := range uint32(chunkSize) {
		v.give(slot + 1)
	}
	if v.depth != 0 || v.below[0] != nil || v.top != (run{1, chunkSize}) {
		t.Fatalf("%+v", v)
	}
}
