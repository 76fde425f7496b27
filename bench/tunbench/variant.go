package main

import (
	"fmt"
	"slices"
	"strings"
)

// variant is a gateway to measure.
type variant struct {
	name   string // of a column of the CSV
	title  string // for people
	filter bool
	plain  bool   // no offloads: packet by packet
	module string // built from there; else it is this program
}

// baseline is the variant that the others are compared with.
const baseline = "no-filter"

func variants() []variant {
	return []variant{
		{name: "filter", title: "Gateway, 1,000 rules", filter: true},
		{name: baseline, title: "Gateway, no filter"},
		{name: "plain", title: "Gateway without offloads, 1,000 rules", filter: true, plain: true},
		{name: "wireguard-go", title: "tun of wireguard-go, Filter, 1,000 rules", filter: true, module: "wgtun"},
	}
}

// choose returns the variants with those names, with commas between them; all
// of them if there is none.
func choose(names string) ([]variant, error) {
	if names == "" {
		return variants(), nil
	}
	wanted, known := strings.Split(names, ","), []string(nil)
	for _, v := range variants() {
		known = append(known, v.name)
	}
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("no gateway %q: there are %s", name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(variants(), func(v variant) bool { return !slices.Contains(wanted, v.name) }), nil
}
