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
		d.errs.Merge("", err)
		return
	}
	told := map[string]bool{}
	for _, f := range d.errs {
		told[f.Path] = true
	}
	for _, f := range errs {
		path := d.pathOf(f.Path)
		if told[path] || told[d.places[path]] {
			continue
		}
		g := *f
		g.Path = path
		if s, ok := g.Value.(string); ok && strings.HasPrefix(s, "\x00") {
			g.Value = nil // a placeholder
		}
		d.errs = append(d.errs, &g)
	}
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
	case strings.HasPrefix(place, "interfaces"):
		name = map[string]string{"addrs": "addresses", "allowed": "allowed_addresses", "groups": "security_group_ids"}[name]
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
	default:
		return field
	}
	if name == "" {
		return field
	}
	return name + index
}
