package document

import (
	"errors"
	"strings"

	"example.com/secgroup/sg"
)

// place notes where the document has what package policy calls path.
func (d *decoder) place(path, at string) { d.places[path] = at }

// translate adds the faults that package policy found, in terms of the
// document. A fault at a place that has one already is a consequence of it.
func (d *decoder) translate(err error) {
	var errs sg.Errors
	if !errors.As(err, &errs) {
		d.faults.Told.Merge("", err)
		return
	}
	told := map[string]bool{}
	for _, f := range d.faults.Told {
		told[f.Path] = true
	}
	for _, f := range errs {
		path := d.pathOf(f.Path)
		if told[path] || d.silent[path] {
			continue
		}
		g := *f
		g.Path, g.Detail = path, d.detailOf(f)
		if s, ok := g.Value.(string); ok && strings.HasPrefix(s, noID) {
			g.Value = nil // a placeholder
		}
		d.faults.Told = append(d.faults.Told, &g)
	}
}

// detailOf translates what a fault of a group says about another rule of it:
// "rules[3]" is no place of the document.
func (d *decoder) detailOf(f *sg.FieldError) string {
	detail := strings.ReplaceAll(f.Detail, noID, "") // of a placeholder
	end := strings.Index(f.Path, ".rules[")
	at := strings.Index(detail, " rules[")
	if end < 0 || at < 0 {
		return detail
	}
	before, rest := detail[:at+1], detail[at+1:]
	n := strings.IndexByte(rest, ']') + 1
	place, ok := d.places[f.Path[:end]+"."+rest[:n]]
	if !ok {
		return detail
	}
	return before + place[strings.LastIndexByte(place, '.')+1:] + rest[n:]
}

// pathOf translates a path of package policy.
func (d *decoder) pathOf(path string) string {
	at, rest := path, ""
	for at != "" {
		if place, ok := d.places[at]; ok {
			return sg.JoinPath(place, fieldOf(place, rest))
		}
		cut := max(lastOutside(at, '.'), lastOutside(at, '['))
		if cut < 0 {
			break
		}
		at, rest = at[:cut], strings.TrimPrefix(path[cut:], ".")
	}
	return path
}

// lastOutside returns the last place of c outside quotes, or -1.
func lastOutside(s string, c byte) int {
	at, quoted := -1, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == c && !quoted:
			at = i
		}
	}
	return at
}

// fieldOf translates a field name behind a place of the document.
func fieldOf(place, field string) string {
	name, index := field, ""
	if i := strings.IndexByte(field, '['); i >= 0 {
		name, index = field[:i], field[i:]
	}
	switch {
	case strings.HasPrefix(place, "interfaces"), strings.HasPrefix(place, "instances"):
		name = map[string]string{
			"addrs": "addresses", "allowed": "allowed_addresses", "groups": "security_group_ids", "instance": "instance_id",
		}[name]
	case strings.Contains(place, ".inbound_rules"), strings.Contains(place, ".outbound_rules"):
		switch name {
		case "ports":
			name = "port_range"
		case "icmp":
			name = "icmp_type"
		case "family":
			name = "ip_version"
		case "peer":
			name = "source"
			if strings.Contains(place, ".outbound_rules") {
				name = "destination"
			}
		}
		return name + index
	case strings.HasPrefix(place, "security_groups"):
		name = map[string]string{
			"scope": "owner", "rules.ingress": "inbound_rules", "rules.egress": "outbound_rules",
		}[name]
		if field == "rules" { // a limit for both lists
			return ""
		}
	default:
		return field
	}
	if name == "" {
		return field
	}
	return name + index
}
