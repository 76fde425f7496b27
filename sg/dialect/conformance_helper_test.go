package dialect_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/kakao"
	"example.com/secgroup/sg/dialect/nfyio"
	"example.com/secgroup/sg/dialect/openstack"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/lint"
	"example.com/secgroup/sg/policy"
)

// claim is the situation and the expectation of one requirement. Every
// situation is played once under each profile.
type claim struct {
	id      string
	under   []sg.Profile
	policy  []policy.Change
	ask     []string                     // see scene.ask
	then    func(t *testing.T, s *scene) // what is no single question
	without func(t *testing.T)           // what needs no policy
	wire    []wireCase                   // documents of the cloud
	lint    []lintOutcome
}

func under(p ...sg.Profile) []sg.Profile { return p }

// five are the profiles of the five documents, in their order.
func five() []sg.Profile {
	return under(nfyio.Profile(), hypervisor.Profile(), kakao.Profile(), aws.Profile(), stackit.Profile())
}

// seven are the five and two more.
func seven() []sg.Profile { return append(five(), strict.Profile(), openstack.Profile()) }

// with returns a profile changed by edit.
func with(p sg.Profile, edit func(*sg.Profile)) sg.Profile {
	edit(&p)
	return p
}

func (c claim) empty() bool {
	return len(c.ask) == 0 && c.then == nil && c.without == nil && len(c.wire) == 0 && len(c.lint) == 0
}

func (c claim) play(t *testing.T) {
	require.False(t, c.empty(), "a case that can not fail")
	if c.without != nil {
		c.without(t)
	}
	for _, w := range c.wire {
		w.play(t)
	}
	for _, l := range c.lint {
		l.check(t)
	}
	for _, p := range c.under {
		t.Run(p.Name, func(t *testing.T) {
			s := newScene(t, p, c.policy...)
			s.ask(c.ask...)
			if c.then != nil {
				c.then(t, s)
			}
		})
	}
	require.Equal(t, len(c.ask) > 0 || c.then != nil, len(c.under) > 0, "questions and profiles belong together")
}

// Policies.

// readRule reads a rule such as "https: in v4 tcp 443 0.0.0.0/0",
// "ping: in icmp 8 any", "db: out tcp 5432 group:db", "all: out any any".
func readRule(text string) sg.Rule {
	id, rest, ok := strings.Cut(text, ": ")
	if !ok {
		id, rest = "", text
	}
	w := strings.Fields(rest)
	r := sg.Rule{ID: sg.RuleID(id), Direction: readDirection(w[0])}
	w = w[1:]
	if w[0] == "v4" || w[0] == "v6" {
		r.Family = map[string]sg.Family{"v4": sg.IPv4, "v6": sg.IPv6}[w[0]]
		w = w[1:]
	}
	r.Protocol = must(sg.ParseProtocol(w[0]))
	switch {
	case len(w) == 3 && r.Protocol.HasICMP():
		r.ICMP = must(sg.ParseICMPMatch(w[1]))
	case len(w) == 3:
		r.Ports = must(sg.ParsePortRange(w[1]))
	}
	if err := r.Peer.UnmarshalText([]byte(w[len(w)-1])); err != nil {
		panic(err)
	}
	return r
}

func readDirection(s string) sg.Direction {
	return map[string]sg.Direction{"in": sg.Ingress, "out": sg.Egress}[s]
}

func readRules(texts ...string) (out []sg.Rule) {
	for _, text := range texts {
		out = append(out, readRule(text))
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newGroup(id sg.GroupID, rules ...string) *sg.Group {
	return &sg.Group{ID: id, Name: string(id), Rules: readRules(rules...)}
}

func group(id sg.GroupID, rules ...string) policy.Change {
	return policy.PutGroup{Group: newGroup(id, rules...)}
}

// owned is group for a user.
func owned(owner sg.OwnerID, id sg.GroupID, rules ...string) policy.Change {
	g := newGroup(id, rules...)
	g.Scope = sg.User(owner)
	return policy.PutGroup{Group: g}
}

// newNIC returns an interface. where is its id and its addresses; without
// addresses it is 10.0.0.5 and fd00::5.
func newNIC(where string, groups ...sg.GroupID) *sg.Interface {
	w := strings.Fields(where)
	i := &sg.Interface{ID: sg.InterfaceID(w[0]), Groups: groups}
	if len(w) == 1 {
		w = append(w, "10.0.0.5", "fd00::5")
	}
	for _, a := range w[1:] {
		i.Addrs = append(i.Addrs, must(sg.ParsePrefix(a)))
	}
	return i
}

func nic(where string, groups ...sg.GroupID) policy.Change {
	return policy.PutInterface{Interface: newNIC(where, groups...)}
}

// nicOf is nic, of an owner, a kind, an instance and a VPC.
func nicOf(i sg.Interface, where string, groups ...sg.GroupID) policy.Change {
	n := newNIC(where, groups...)
	n.Owner, n.Kind, n.Instance, n.VPC = i.Owner, i.Kind, i.Instance, i.VPC
	return policy.PutInterface{Interface: n}
}

func set(id sg.SetID, f sg.Family, entries ...string) policy.Change {
	s := ipset.New(id, f, sg.Global())
	for _, e := range entries {
		if err := s.Add(ipset.Entry{Prefix: must(ipset.ParseEntry(e))}); err != nil {
			panic(err)
		}
	}
	return policy.PutSet{Set: s}
}

func admin() sg.Actor { return sg.Actor{ID: "root", Admin: true} }
func alice() sg.Actor { return sg.Actor{ID: "alice"} }
func bob() sg.Actor   { return sg.Actor{ID: "bob"} }

// scene is a store, and everything that follows it: a compiler that applies
// the batches of a Watch, and an engine with a clock of its own.
type scene struct {
	t        *testing.T
	store    *policy.Store
	at       policy.Revision
	compiler compile.Compiler
	engine   *enforce.Engine
	clock    time.Duration
}

func newEngine(now func() time.Time) *enforce.Engine {
	return enforce.NewEngine(enforce.Options{
		Now:       now,
		Hygiene:   enforce.Hygiene{AllowLand: true, AllowMartians: true}, // the rules are asked, whatever the address
		Conntrack: conntrack.Options{MaxEntries: 64, Shards: 1, MaxFragments: 8},
	})
}

func newScene(t *testing.T, p sg.Profile, c ...policy.Change) *scene {
	t.Helper()
	s := &scene{t: t}
	var err error
	s.store, err = policy.NewStore(p)
	require.NoError(t, err)
	s.engine = newEngine(func() time.Time { return time.Unix(1_000_000, 0).Add(s.clock) })
	empty, _ := s.store.Snapshot()
	m, err := s.compiler.Reset(empty)
	require.NoError(t, err)
	require.NoError(t, s.engine.Apply(t.Context(), m))
	s.put(c...)
	return s
}

// follow brings compiler and engine up to date with the store, by its Watch.
func (s *scene) follow() {
	s.t.Helper()
	snapshot, now := s.store.Snapshot()
	require.NoError(s.t, snapshot.Validate())
	if s.at == now {
		return
	}
	for b, err := range s.store.Watch(s.t.Context(), s.at) {
		require.NoError(s.t, err)
		m, err := s.compiler.Apply(b)
		require.NoError(s.t, err)
		require.NoError(s.t, s.engine.Apply(context.Background(), m))
		if s.at = b.Revision; s.at == now {
			break
		}
	}
}

// do is a transaction of somebody.
func (s *scene) do(by sg.Actor, f func(tx *policy.Tx) error) {
	s.t.Helper()
	_, err := s.store.Update(by, f)
	require.NoError(s.t, err)
	s.follow()
}

// edit is a transaction of an admin.
func (s *scene) edit(f func(tx *policy.Tx) error) {
	s.t.Helper()
	s.do(admin(), f)
}

func (s *scene) put(c ...policy.Change) {
	s.t.Helper()
	s.edit(func(tx *policy.Tx) error { return tx.Apply(c...) })
}

// refuse is a transaction that must fail with one fault of that kind at path.
func (s *scene) refuse(by sg.Actor, kind error, path string, f func(tx *policy.Tx) error) {
	s.t.Helper()
	_, before := s.store.Snapshot()
	_, err := s.store.Update(by, f)
	fault(s.t, err, kind, path)
	_, after := s.store.Snapshot()
	require.Equal(s.t, before, after, "a refused transaction changes nothing")
}

// refusePut is refuse for changes of an admin.
func (s *scene) refusePut(kind error, path string, c ...policy.Change) {
	s.t.Helper()
	s.refuse(admin(), kind, path, func(tx *policy.Tx) error { return tx.Apply(c...) })
}

func (s *scene) snapshot() *policy.Snapshot {
	now, _ := s.store.Snapshot()
	return now
}

func (s *scene) group(id sg.GroupID) *sg.Group {
	s.t.Helper()
	g, ok := s.snapshot().Group(id)
	require.True(s.t, ok, "no group %s", id)
	return g
}

// fault checks that err is of a kind, and has such a fault at path.
func fault(t *testing.T, err, kind error, path string) {
	t.Helper()
	require.ErrorIs(t, err, kind)
	var errs sg.Errors
	var one *sg.FieldError
	if !errors.As(err, &errs) {
		require.ErrorAs(t, err, &one)
		errs = sg.Errors{one}
	}
	for _, f := range errs {
		if f.Path == path && errors.Is(f, kind) {
			return
		}
	}
	require.Failf(t, "no such fault", "want %v at %s, have:\n%v", kind, path, err)
}

// Questions and packets.

// question is a packet at an interface, and what should become of it.
type question struct {
	iface sg.InterfaceID
	dir   sg.Direction // of the packet that opens the flow
	flow  ir.Flow
	step  string // which packet of the flow; "" is the one that opens it
	want  string
}

// readQuestion reads "i in tcp/443 192.0.2.1 reply -> accept established": an
// interface, the direction and service of a flow, its remote end, and a step
// of it; open if none is named. The service is a protocol with a destination
// port, or the type and code of ICMP: icmp/8, icmp/3/1.
func readQuestion(text string) question {
	what, want, _ := strings.Cut(text, " -> ")
	w := strings.Fields(what)
	q := question{iface: sg.InterfaceID(w[0]), dir: readDirection(w[1]), want: want}
	service := strings.Split(w[2], "/")
	q.flow = ir.Flow{Remote: netip.MustParseAddr(w[3]), Protocol: uint8(must(sg.ParseProtocol(service[0])))}
	numbers := make([]int, 3)
	for n, text := range service[1:] {
		numbers[n] = must(strconv.Atoi(text))
	}
	switch p := sg.Protocol(q.flow.Protocol); {
	case p.HasPorts():
		q.flow.Port = uint16(numbers[0])
	case p.HasICMP():
		q.flow.ICMPType, q.flow.ICMPCode = uint8(numbers[0]), uint8(numbers[1])
	}
	if len(w) > 4 {
		q.step = w[4]
	}
	return q
}

const openerPort = 40_000

// packet returns the bytes of a step of q, and the direction that they go in.
// TCP: open is SYN, reply SYN and ACK, go and back ACK; error is an ICMP error
// about the packet that opened the flow, sent by who received it.
func (q question) packet(local netip.Addr) (sg.Direction, []byte) {
	w := workload.Flow{Interface: q.iface, Direction: q.dir, Flow: q.flow}
	t := w.Tuple(local, openerPort)
	h := workload.Header{ICMPType: q.flow.ICMPType, ICMPCode: q.flow.ICMPCode}
	isTCP := sg.Protocol(q.flow.Protocol) == sg.TCP
	switch q.step {
	case "", "open":
		return q.dir, w.Packet(local, openerPort)
	case "go":
		h.Flags = packet.ACK
		return q.dir, workload.AppendPacket(nil, t, h)
	case "reply", "back":
		h.Flags = packet.ACK
		if isTCP && q.step == "reply" {
			h.Flags |= packet.SYN
		}
		h.ICMPType = map[uint8]uint8{8: 0, 128: 129}[h.ICMPType]
		return q.dir.Opposite(), workload.AppendPacket(nil, t.Reverse(), h)
	case "error":
		return q.dir.Opposite(), unreachable(t, w.Packet(local, openerPort))
	}
	panic("no such step: " + q.step)
}

// unreachable is what the receiver of a packet sends to say that it can not
// take it.
func unreachable(t packet.Tuple, about []byte) []byte {
	buf := gopacket.NewSerializeBuffer()
	from, to := t.DstAddr(), t.SrcAddr()
	quote := gopacket.Payload(append(make([]byte, 4), about...)) // behind four unused bytes
	var list []gopacket.SerializableLayer
	if from.Is4() {
		list = []gopacket.SerializableLayer{
			&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: from.AsSlice(), DstIP: to.AsSlice()},
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 1)}, gopacket.Payload(about),
		}
	} else {
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolICMPv6, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(1, 1)}
		if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
			panic(err)
		}
		list = []gopacket.SerializableLayer{ip, icmp, quote}
	}
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, list...); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// local returns the address of the interface that the packets of q have.
func (s *scene) local(q question) netip.Addr {
	if i, ok := s.snapshot().Interface(q.iface); ok {
		for _, p := range i.Addrs {
			if p.Addr().BitLen() == q.flow.Remote.BitLen() {
				return p.Addr()
			}
		}
	}
	if q.flow.Remote.Is4() {
		return netip.MustParseAddr("10.0.0.5")
	}
	return netip.MustParseAddr("fd00::5")
}

// say is a verdict as text: "accept rule web/https [who added it]".
func say(p *ir.Program, v ir.Verdict) string {
	text := v.Action.String() + " " + v.Reason.String()
	if r, ok := p.Rule(v.Rule); ok {
		text += " " + r.Ref.String()
		if r.Ref.Origin != "" {
			text += " [" + r.Ref.Origin + "]"
		}
	}
	return text
}

func (q question) check(t *testing.T, text, got string) {
	t.Helper()
	require.Truef(t, q.want != "" && strings.HasPrefix(got+" ", q.want+" "), "%s\nis: %s", text, got)
}

// ask asks questions about flows that are not open yet: of Program.Eval, of
// Matcher.Match, of an engine that follows the changes of the store, and of a
// fresh one given the matcher of a fresh compilation. All must agree, and the
// answer must begin with what stands behind the arrow.
func (s *scene) ask(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		q := readQuestion(text)
		q.check(s.t, text, s.answer(text, q))
	}
}

func (s *scene) answer(text string, q question) string {
	s.t.Helper()
	m := s.compiler.Matcher()
	prog := m.Program()
	want := prog.Eval(q.iface, q.dir, q.flow)
	i, _ := m.Interface(q.iface)
	require.Equal(s.t, want, m.Match(i.Index, q.dir, q.flow), "Matcher: %s", text)
	_, b := q.packet(s.local(q))
	e := newEngine(func() time.Time { return time.Unix(1_000_000, 0) })
	require.NoError(s.t, e.Apply(s.t.Context(), m))
	require.Equal(s.t, want, e.Port(q.iface).Filter(q.dir, b), "Engine: %s", text)
	fresh, err := compile.Compile(s.snapshot())
	require.NoError(s.t, err)
	got := say(prog, want)
	require.Equal(s.t, got, say(fresh.Program(), fresh.Program().Eval(q.iface, q.dir, q.flow)), "compiled afresh: %s", text)
	return got
}

// pass sends packets through the engine, which remembers what passed.
func (s *scene) pass(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		q := readQuestion(text)
		d, b := q.packet(s.local(q))
		v := s.engine.Port(q.iface).Filter(d, b)
		q.check(s.t, text, say(s.compiler.Matcher().Program(), v))
	}
}

// connect opens a flow and completes the handshake of TCP.
func (s *scene) connect(flow string) {
	s.t.Helper()
	s.pass(flow+" open -> accept", flow+" reply -> accept established", flow+" go -> accept established")
}

// Wire forms.

// wireCase is a document of a cloud. It says groups, or it has a fault.
type wireCase struct {
	decode func([]byte) ([]*sg.Group, []sg.Warning, error)
	in     string
	kind   error // of the fault
	path   string
	rules  []string // of the first group, as readRule reads them, without ids
	check  func(t *testing.T, g []*sg.Group)
}

func (w wireCase) play(t *testing.T) {
	t.Helper()
	groups, _, err := w.decode([]byte(w.in))
	if w.kind != nil {
		fault(t, err, w.kind, w.path)
		return
	}
	require.NoError(t, err, w.in)
	if w.rules != nil {
		require.NotEmpty(t, groups)
		require.Equal(t, writeRules(readRules(w.rules...)), writeRules(groups[0].Rules), w.in)
	}
	if w.check != nil {
		w.check(t, groups)
	}
	require.True(t, w.rules != nil || w.check != nil, "a case that can not fail")
}

// writeRules is readRules backwards, without ids, and without a family that the
// CIDR says.
func writeRules(rules []sg.Rule) (out []string) {
	for _, r := range rules {
		out = append(out, writeRule(r))
	}
	return out
}

func writeRule(r sg.Rule) string {
	w := []string{map[sg.Direction]string{sg.Ingress: "in", sg.Egress: "out"}[r.Direction]}
	if r.Peer.Kind() != sg.PeerIsCIDR && r.Family != sg.FamilyAny {
		w = append(w, map[sg.Family]string{sg.IPv4: "v4", sg.IPv6: "v6"}[r.Family])
	}
	w = append(w, r.Protocol.String())
	if !r.Ports.IsZero() {
		w = append(w, r.Ports.String())
	}
	if !r.ICMP.IsAny() {
		w = append(w, r.ICMP.String())
	}
	peer := must(r.Peer.MarshalText())
	return strings.Join(append(w, string(peer)), " ")
}

// Lint.

// lintOutcome is a policy and whether lint should find something at a place.
type lintOutcome struct {
	profile sg.Profile
	policy  []policy.Change
	code    string
	at      []string // every place of such a finding, none: it is not found
}

func (l lintOutcome) check(t *testing.T) {
	t.Helper()
	s := newScene(t, l.profile, l.policy...)
	got := []string{}
	for _, f := range lint.Check(s.snapshot()) {
		if f.Code == l.code {
			got = append(got, f.Path)
			require.NotEmpty(t, f.Message)
			require.NotEmpty(t, f.Suggestion)
		}
	}
	if l.at == nil {
		l.at = []string{}
	}
	require.Equal(t, l.at, got, "%s under %s: %s", l.code, l.profile.Name, fmt.Sprint(lint.Check(s.snapshot())))
}
