// Package document reads and writes the native policy document: one JSON
// object that holds a whole policy.
//
//	{"profile": "aws",
//	 "security_groups": [{"id": "sg-web", "name": "web", "description": "", "vpc_id": "vpc-1", "owner": "", "stateful": true,
//	    "inbound_rules":  [{"id": "https", "protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0", "description": ""}],
//	    "outbound_rules": [{"id": "db", "protocol": "tcp", "port_range": "5432", "destination": "sg-db"}]}],
//	 "ip_sets": [{"id": "ips-office", "name": "office", "ip_version": "ipv4", "entries": [{"cidr": "198.51.100.0/24", "description": ""}]}],
//	 "interfaces": [{"id": "web-1", "vpc_id": "vpc-1", "owner": "", "kind": "", "addresses": ["10.0.0.5", "fd00::5"],
//	    "security_group_ids": ["sg-web"], "exempt": ["smtp"]}]}
//
// A source or destination is a CIDR, a bare address, the id of a group or of
// an IP set of the document, or "@name" for a group by name. Rules may also
// have ip_version ("ipv4", "ipv6"), icmp_type and icmp_code (0 to 255; absent
// is any). A rule without an id gets one that depends on its content only. An
// absent rule list gets the rules that the profile gives to new groups in that
// direction; an empty one has no rules. Interfaces may also have source_guard
// and allowed_addresses; see sg.Interface. Unknown and repeated fields, null,
// and values of the wrong type are faults.
package document

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
	"example.com/secgroup/sg/policy"
)

// MaxBytes is the size limit of a document.
const MaxBytes = 64 << 20

// Options say how to read a document.
type Options struct {
	// Profiles finds a profile by name; package sg/dialect has one. Required.
	Profiles func(name string) (sg.Profile, bool)

	// Profile, if not empty, overrides the profile that the document names.
	Profile string
}

// Read reads a document of at most MaxBytes and decodes it.
func Read(r io.Reader, o Options) (*policy.Snapshot, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	return Decode(b, o)
}

// Decode decodes and validates a document. Its error is sg.Errors with every
// fault, with paths such as security_groups[2].inbound_rules[0].port_range.
func Decode(b []byte, o Options) (*policy.Snapshot, error) {
	d := &decoder{options: o, places: map[string]string{}, byName: map[string][]*sg.Group{}}
	var whole sg.Errors
	if len(b) > MaxBytes {
		whole.Add("", len(b), sg.ErrQuota, "a document has at most 64 MiB")
		return nil, whole.Err()
	}
	root, err := jsontree.Parse(b, &d.errs)
	if err != nil {
		whole.Merge("", err)
		return nil, whole.Err()
	}
	return d.document(root)
}

type decoder struct {
	options Options
	profile sg.Profile
	errs    sg.Errors
	changes []policy.Change

	places map[string]string      // path of package policy → path in the document
	groups []*groupDraft          // in order of the document
	byName map[string][]*sg.Group // for "@name"
	ids    map[string]string      // id of a group or set → "group" or "set"
}

// groupDraft is a group whose rules wait until every id is known.
type groupDraft struct {
	group *sg.Group
	obj   *jsontree.Object
	lists [2][]*jsontree.Object // inbound, outbound
	given [2]bool
}

func (d *decoder) document(root *jsontree.Object) (*policy.Snapshot, error) {
	d.readProfile(root)
	d.ids = map[string]string{}
	groups, _ := root.Objects("security_groups")
	for _, o := range groups {
		d.readGroup(o)
	}
	sets, _ := root.Objects("ip_sets")
	for _, o := range sets {
		d.readSet(o)
	}
	for _, g := range d.groups {
		d.readRules(g)
	}
	interfaces, _ := root.Objects("interfaces")
	seen := map[string]bool{}
	for _, o := range interfaces {
		d.readInterface(o, seen)
	}
	root.Done()

	s, err := policy.Build(d.profile, d.changes...)
	d.translate(err)
	if err := d.errs.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

func (d *decoder) readProfile(root *jsontree.Object) {
	d.profile = sg.Profile{Name: "unknown", AllowStateless: true} // judges what can be judged without one
	name, ok := root.Required("profile")
	field := "profile"
	if d.options.Profile != "" {
		name, ok = d.options.Profile, true
	}
	if !ok || d.options.Profiles == nil {
		return
	}
	p, found := d.options.Profiles(name)
	if !found {
		root.Fault(field, name, sg.ErrNotFound, "no such profile")
		return
	}
	d.profile = p
}

// id reads the id of an object. A missing, impossible or repeated one is a
// fault; a placeholder then keeps the object apart from all others.
func (d *decoder) id(o *jsontree.Object, taken func(string) bool) string {
	id, ok := o.Required("id")
	switch {
	case !ok:
	case sg.CheckName(id) != "":
		o.Fault("id", id, sg.ErrInvalid, sg.CheckName(id))
	case taken(id):
		o.Fault("id", id, sg.ErrDuplicate, "another object has this id")
	case isAddress(id) || strings.HasPrefix(id, "@"):
		o.Fault("id", id, sg.ErrInvalid, "an id must not look like an address or a @name")
	default:
		return id
	}
	return "\x00" + o.Path
}

func isAddress(s string) bool {
	if _, err := netip.ParsePrefix(s); err == nil {
		return true
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}

func (d *decoder) readGroup(o *jsontree.Object) {
	id := d.id(o, func(id string) bool { return d.ids[id] != "" })
	d.ids[id] = "group"
	g := &sg.Group{
		ID:          sg.GroupID(id),
		Description: o.Text("description"),
		VPC:         sg.VPCID(o.Text("vpc_id")),
		Scope:       sg.User(sg.OwnerID(o.Text("owner"))),
		Stateless:   !o.Bool("stateful", true),
	}
	g.Name, _ = o.Required("name")
	draft := &groupDraft{group: g, obj: o}
	for i, key := range []string{"inbound_rules", "outbound_rules"} {
		draft.lists[i], draft.given[i] = o.Objects(key)
		draft.given[i] = draft.given[i] || o.Has(key)
	}
	o.Done()
	d.groups = append(d.groups, draft)
	d.byName[g.Name] = append(d.byName[g.Name], g)
	d.place(fmt.Sprintf("groups[%q]", id), o.Path)
	d.changes = append(d.changes, policy.PutGroup{Group: g})
}

func (d *decoder) readSet(o *jsontree.Object) {
	id := d.id(o, func(id string) bool { return d.ids[id] != "" })
	d.ids[id] = "set"
	family := sg.FamilyAny
	if v, ok := o.String("ip_version"); ok { // absent: the first entry decides
		f, err := sg.ParseFamily(v)
		o.Merge("ip_version", err)
		family = f
	}
	s := ipset.New(sg.SetID(id), family, sg.User(sg.OwnerID(o.Text("owner"))))
	s.Name, _ = o.Required("name")
	s.Description = o.Text("description")
	s.VPC = sg.VPCID(o.Text("vpc_id"))
	entries, _ := o.Objects("entries")
	for _, e := range entries {
		note := e.Text("description")
		if text, ok := e.Required("cidr"); ok {
			p, err := ipset.ParseEntry(text)
			if err == nil {
				err = s.Add(ipset.Entry{Prefix: p, Description: note})
			}
			e.Merge("cidr", err)
		}
		e.Done()
	}
	o.Done()
	d.place(fmt.Sprintf("sets[%q]", id), o.Path)
	d.changes = append(d.changes, policy.PutSet{Set: s})
}

func (d *decoder) readInterface(o *jsontree.Object, seen map[string]bool) {
	id := d.id(o, func(id string) bool { return seen[id] })
	seen[id] = true
	i := &sg.Interface{
		ID:          sg.InterfaceID(id),
		VPC:         sg.VPCID(o.Text("vpc_id")),
		Owner:       sg.OwnerID(o.Text("owner")),
		Kind:        o.Text("kind"),
		Exempt:      o.Strings("exempt"),
		SourceGuard: o.Bool("source_guard", false),
	}
	i.Addrs = d.prefixes(o, "addresses")
	i.Allowed = d.prefixes(o, "allowed_addresses")
	for _, g := range o.Strings("security_group_ids") {
		i.Groups = append(i.Groups, sg.GroupID(g))
	}
	o.Done()
	d.place(fmt.Sprintf("interfaces[%q]", id), o.Path)
	d.changes = append(d.changes, policy.PutInterface{Interface: i})
}

func (d *decoder) prefixes(o *jsontree.Object, key string) []netip.Prefix {
	var out []netip.Prefix
	for n, text := range o.Strings(key) {
		p, err := sg.ParsePrefix(text)
		o.Merge(fmt.Sprintf("%s[%d]", key, n), err)
		out = append(out, p) // a faulty one stands as a placeholder: indices stay true
	}
	return out
}
