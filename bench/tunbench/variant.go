package main

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
