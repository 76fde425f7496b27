package hostiletest

import (
	"fmt"
	"strings"
)

// Catalogue is the packet part of the list of hostile input: by id the verdicts
// in order, A allow and D deny, "D/A" where either can be defended, "×n" for
// repeats. What the engine does where there is a choice stands in the cases.
func Catalogue() map[string]string {
	list := map[string]string{}
	for chapter, lines := range map[string]string{
		"ICMP": "D; A D A; A D; A D×2; A D; A D A; A D; A D; D; A D×2 A; A×3 D; D/A A; D A×2; A×2; A×3 D/A; A D×2; A×2 D; D×2; A D×4 A×3 D×2",
		"FRAG": "A/D D×2; D; D; A/D×2; D; D×2; D; A/D D; D×2; D; D D/A; D A/D; A D; D/A; A D; D×2",
		"EXT":  "D A D A D×2; D A/D D A/D; D/A D; D D/A; D×3; D×3; D A/D; D/A; D×2; D×2",
		"HDR":  "D×5; D; D×3; D×2; D; D/A×2 D; D/A×2 D; A D A; D×10; D×7; D/A; D/A×8",
		"TCP": "D×13; D×2; D; A×4; D×4; A×3 D×2 A; A×3 D A; A×3 D; A×3 D A/D×4 D A×3 D/A; A×5; A×3 A/D D A; A×6; A D×2; A×15; A×5; A×3 D; A×7; A D A; " +
			"A×4; A D A/D; A A/D A×2; A×9; A×6 D; A×6 D; A×3 D/A×3",
		"UDP": "D×3 A/D; A D D/A D; A D A D; A D×2; D×3 A D; A D×2; D×2",
		"SEM": "D×4 A; D×2 A×2; A×3 D D×2 A A D; D×3; D A×3 D×2 A×4 D×2 A×3 D; A×2 D×2 A×2 D A×2 D; A×4 D A D×2; A×3 D×3; A D×2 A×2 D A×2 D A D A×2 D×2 A; D×6; " +
			"A×3 D A D A×2 D×2",
		"INF": "D×3 A; A×5 D×3; A; D/A",
	} {
		for i, verdicts := range strings.Split(lines, "; ") {
			list[fmt.Sprintf("%s-%02d", chapter, i+1)] = verdicts
		}
	}
	return list
}

// Fits reports whether the verdicts of a case that are written in capitals are
// those of a line of the catalogue.
func Fits(want, line string) bool {
	var named []byte
	for i := range len(want) {
		if want[i] == 'A' || want[i] == 'D' {
			named = append(named, want[i])
		}
	}
	for part := range strings.FieldsSeq(line) {
		either, times, ok := strings.Cut(part, "×")
		n := 1
		if ok {
			if _, err := fmt.Sscan(times, &n); err != nil {
				return false
			}
		}
		for range n {
			if len(named) == 0 || strings.IndexByte(either, named[0]) < 0 {
				return false
			}
			named = named[1:]
		}
	}
	return len(named) == 0
}
