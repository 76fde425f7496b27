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
// A source or destination is a CIDR, a bare address, "any" (every address), the
// id of a group or of an IP set of the document, or "@name" for a group by name. Rules may also
// have ip_version ("ipv4", "ipv6"), icmp_type and icmp_code (0 to 255; absent
// is any). A rule without an id gets one that depends on its content only. An
// absent rule list gets the rules that the profile gives to new groups in that
// direction; an empty one has no rules. Groups may also have default (the
// default group of their VPC) and created_at (RFC 3339); interfaces
// source_guard, allowed_addresses (see sg.Interface) and instance_id. Where
// groups attach to instances there is a list
//
//	"instances": [{"id": "vm-1", "owner": "", "kind": "", "security_group_ids": ["sg-web"]}]
//
// and what is special about owners stands in
//
//	"owners": [{"id": "alice", "exempt": ["smtp"]}]
//
// Unknown and repeated fields, null,
// and values of the wrong type are faults.
package document

import (
	"fmt"
	"io"
	"net/netip"
	"slices"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
	"example.com/secgroup/sg/policy"
)

// MaxBytes is the size limit of a document: 64 MiB.
const MaxBytes = jsontree.MaxBytes

// Options say how to read a document.
type Options struct {
	// Profiles finds a profile by name; package sg/dialect has one. Required.
	Profiles func(name string) (sg.Profile, bool)

	// Profile, if not empty, overrides the profile that the document names,
	// which then need not name one.
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
// fault, with paths such as security_groups[2].inbound_rules[0].port_range; of
// more than 1,000 it tells some, and that there are more.
func Decode(b []byte, o Options) (*policy.Snapshot, error) {
	d := &decoder{options: o, places: map[string]string{}, silent: map[string]bool{}, inVPC: map[vpcName][]sg.GroupID{}, byName: map[string][]sg.GroupID{}, seen: map[seenID]bool{}}
	root, err := jsontree.Parse(b, &d.faults)
	if err != nil {
		return nil, err
	}
	return d.document(root)
}

type decoder struct {
	options Options
	profile sg.Profile
	faults  jsontree.Faults
	changes []policy.Change

	places map[string]string        // path of package policy → path in the document
	silent map[string]bool          // paths in the document where package policy is wrong
	groups []*groupDraft            // in order of the document
	inVPC  map[vpcName][]sg.GroupID // for "@name"
	byName map[string][]sg.GroupID  // the same in all VPCs
	ids    map[string]string        // id of a group or set → "group" or "set"
	seen   map[seenID]bool          // ids of the other kinds
}

type vpcName struct {
	vpc  sg.VPCID
	name string
}

// seenID is an id that an object of some kind has.
type seenID struct{ kind, id string }

// groupDraft is a group whose rules wait until every id is known.
type groupDraft struct {
	group *sg.Group
	obj   *jsontree.Object
	lists [2]jsontree.List // inbound, outbound
	given [2]bool
}

func (d *decoder) document(root *jsontree.Object) (*policy.Snapshot, error) {
	d.readProfile(root)
	d.ids = map[string]string{}
	d.each(root, "security_groups", d.readGroup)
	d.each(root, "ip_sets", d.readSet)
	for _, g := range d.groups {
		if d.full() {
			break
		}
		d.readRules(g)
	}
	d.each(root, "instances", d.readInstance)
	d.each(root, "owners", d.readOwner)
	d.each(root, "interfaces", d.readInterface)
	root.Done()
	if d.full() {
		return nil, d.bounded()
	}

	s, err := policy.Build(d.profile, d.changes...)
	d.translate(err)
	if len(d.faults.Told) > 0 {
		return nil, d.bounded()
	}
	return s, nil
}

// full reports whether there are so many faults that no more will be told.
func (d *decoder) full() bool { return len(d.faults.Told) >= jsontree.MaxFaults }

// each reads a list of objects, until there are so many faults that no more
// will be told.
func (d *decoder) each(root *jsontree.Object, key string, read func(o *jsontree.Object)) {
	list, _ := root.Objects(key)
	list.Each(func(o *jsontree.Object) {
		if !d.full() {
			read(o)
		}
	})
}

// bounded returns the faults, up to jsontree.MaxFaults and a word about the
// rest.
func (d *decoder) bounded() error {
	err := d.faults.Told.Err() // sorts
	if !d.full() {
		return err
	}
	few := slices.Clone(d.faults.Told[:jsontree.MaxFaults])
	few.Add("", nil, sg.ErrInvalid, fmt.Sprintf("not more than %d faults are told", jsontree.MaxFaults))
	return few.Err()
}

func (d *decoder) readProfile(root *jsontree.Object) {
	d.profile = sg.Profile{Name: "unknown", AllowStateless: true} // judges what can be judged without one
	name, ok := d.options.Profile, true
	if name == "" {
		name, ok = root.Required("profile")
	} else {
		root.Text("profile")
	}
	if !ok {
		return
	}
	if d.options.Profiles == nil {
		root.Fault("profile", name, sg.ErrRequired, "Options.Profiles, which knows profiles by name")
		return
	}
	if p, found := d.options.Profiles(name); found {
		d.profile = p
		return
	}
	root.Fault("profile", name, sg.ErrNotFound, "no such profile")
}

// id reads the id of an object. A missing, impossible or repeated one is a
// fault; a placeholder then keeps the object apart from all others.
func (d *decoder) id(o *jsontree.Object, taken func(string) bool) string {
	id := d.anyID(o, taken)
	if id[0] != noID[0] && !isReference(id) {
		o.Fault("id", id, sg.ErrInvalid, "an id must not look like an address or a @name")
		return placeholder(o)
	}
	return id
}

// noID marks a placeholder: no id has a control character, and this one sorts
// behind letters, so that of two objects the good one is not blamed.
const noID = "\x7f"

// placeholder stands for an id, or the target of a rule, that can not be used.
func placeholder(o *jsontree.Object) string { return noID + o.Path }

// anyID is id for an object that no source or destination can name.
func (d *decoder) anyID(o *jsontree.Object, taken func(string) bool) string {
	id, ok := o.Required("id")
	switch {
	case !ok:
	case sg.CheckName(id) != "":
		o.Fault("id", id, sg.ErrInvalid, sg.CheckName(id))
	case taken(id):
		o.Fault("id", id, sg.ErrDuplicate, "another object has this id")
	default:
		return id
	}
	return placeholder(o)
}

// listed is anyID for an object whose id no other of its kind has.
func (d *decoder) listed(o *jsontree.Object, kind string) string {
	id := d.anyID(o, func(id string) bool { return d.seen[seenID{kind, id}] })
	d.seen[seenID{kind, id}] = true
	return id
}

// isReference reports whether id, as a source or destination, can mean nothing
// but an object.
func isReference(id string) bool { return !isAddress(id) && id[0] != '@' && id != anyPeer }

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
		Default:     o.Bool("default", false),
	}
	g.Created = o.Time("created_at")
	g.Name, _ = o.Required("name")
	draft := &groupDraft{group: g, obj: o}
	for i, key := range []string{"inbound_rules", "outbound_rules"} {
		draft.lists[i], draft.given[i] = o.Objects(key)
	}
	o.Done()
	d.groups = append(d.groups, draft)
	d.inVPC[vpcName{g.VPC, g.Name}] = append(d.inVPC[vpcName{g.VPC, g.Name}], g.ID)
	d.byName[g.Name] = append(d.byName[g.Name], g.ID)
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
	entries.Each(func(e *jsontree.Object) {
		note := e.Text("description")
		if text, ok := e.Required("cidr"); ok {
			p, err := ipset.ParseEntry(text)
			if err == nil {
				err = s.Add(ipset.Entry{Prefix: p, Description: note})
			}
			e.Merge("cidr", err)
		}
		e.Done()
	})
	o.Done()
	d.place(fmt.Sprintf("sets[%q]", id), o.Path)
	d.changes = append(d.changes, policy.PutSet{Set: s})
}

func (d *decoder) readInterface(o *jsontree.Object) {
	id := d.listed(o, "interface")
	i := &sg.Interface{
		ID:          sg.InterfaceID(id),
		VPC:         sg.VPCID(o.Text("vpc_id")),
		Owner:       sg.OwnerID(o.Text("owner")),
		Kind:        o.Text("kind"),
		Instance:    sg.InstanceID(o.Text("instance_id")),
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

func (d *decoder) readInstance(o *jsontree.Object) {
	id := d.listed(o, "instance")
	n := &sg.Instance{ID: sg.InstanceID(id), Owner: sg.OwnerID(o.Text("owner")), Kind: o.Text("kind")}
	for _, g := range o.Strings("security_group_ids") {
		n.Groups = append(n.Groups, sg.GroupID(g))
	}
	o.Done()
	d.place(fmt.Sprintf("instances[%q]", id), o.Path)
	d.changes = append(d.changes, policy.PutInstance{Instance: n})
}

func (d *decoder) readOwner(o *jsontree.Object) {
	id := d.listed(o, "owner")
	owner := &sg.Owner{ID: sg.OwnerID(id), Exempt: o.Strings("exempt")}
	o.Done()
	d.place(fmt.Sprintf("owners[%q]", id), o.Path)
	d.changes = append(d.changes, policy.PutOwner{Owner: owner})
}

func (d *decoder) prefixes(o *jsontree.Object, key string) []netip.Prefix {
	told := len(d.faults.Told)
	list := o.Strings(key)
	wrong := map[string]bool{} // elements that are no text
	for _, f := range d.faults.Told[told:] {
		wrong[f.Path] = true
	}
	var out []netip.Prefix
	for n, text := range list {
		p, err := sg.ParsePrefix(text)
		if field := fmt.Sprintf("%s[%d]", key, n); !wrong[sg.JoinPath(o.Path, field)] {
			o.Merge(field, err)
		}
		out = append(out, p) // a faulty one stands as a placeholder: indices stay true
	}
	return out
}
