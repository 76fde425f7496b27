package main

import (
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"time"
	"unsafe"

	"github.com/gaissmai/bart"
	"github.com/sirupsen/logrus"
	nebulapkg "github.com/slackhq/nebula"
	"github.com/slackhq/nebula/cert"
	nebulafw "github.com/slackhq/nebula/firewall"

	"example.com/secgroup/sg"
)

// nebula is a Firewall of nebula. It has no TCP states: a flow is a map entry
// with a time to live, behind one mutex. It is safe for concurrent use, but
// for the cache.
//
// The package offers the Firewall and its Drop, but neither the parser nor a
// way to make the HostInfo that Drop wants; so the parser is linked by name,
// and two fields of HostInfo are set by reflection. Nothing else is touched.
type nebula struct {
	f     *nebulapkg.Firewall
	peer  *nebulapkg.HostInfo
	pool  *cert.CAPool
	cache nebulafw.ConntrackCache // nil is none
	with  bool                    // a cache
}

//go:linkname nebulaParse github.com/slackhq/nebula.newPacket
func nebulaParse(data []byte, incoming bool, fp *nebulafw.Packet) error

func newNebula(w *world, _ int) (engine, error)      { return openNebula(w, false) }
func newNebulaCache(w *world, _ int) (engine, error) { return openNebula(w, true) }

// hostCert is what the firewall asks of a certificate.
type hostCert struct {
	cert.Certificate
	networks []netip.Prefix
}

func (c hostCert) Networks() []netip.Prefix       { return c.networks }
func (c hostCert) UnsafeNetworks() []netip.Prefix { return nil }
func (c hostCert) Issuer() string                 { return "ca" }
func (c hostCert) Name() string                   { return "host" }

func openNebula(w *world, cache bool) (*nebula, error) {
	e := &nebula{with: cache, pool: cert.NewCAPool(), peer: &nebulapkg.HostInfo{ConnectionState: new(nebulapkg.ConnectionState)}}
	e.pool.CAs["ca"] = &cert.CachedCertificate{Certificate: hostCert{}}
	// Every remote address is the peer's, as behind a gateway.
	networks := new(bart.Table[nebulapkg.NetworkType])
	networks.Insert(netip.MustParsePrefix("0.0.0.0/0"), nebulapkg.NetworkTypeVPN)
	networks.Insert(netip.MustParsePrefix("::/0"), nebulapkg.NetworkTypeVPN)
	if err := setField(e.peer, "networks", networks); err != nil {
		return nil, err
	}
	if err := setField(e.peer.ConnectionState, "peerCert", &cert.CachedCertificate{Certificate: hostCert{}}); err != nil {
		return nil, err
	}
	var err error
	e.f, err = nebulaFirewall(w)
	if err == nil {
		err = e.forget()
	}
	return e, err
}

// setField sets an unexported field of the struct behind p.
func setField(p any, name string, v any) error {
	f := reflect.ValueOf(p).Elem().FieldByName(name)
	if !f.IsValid() || f.Type() != reflect.TypeOf(v) {
		return fmt.Errorf("nebula: %T has no field %s of type %T", p, name, v)
	}
	reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem().Set(reflect.ValueOf(v))
	return nil
}

// nebulaFirewall has a rule per prefix. Port ranges become one map entry per
// port, by the package itself.
func nebulaFirewall(w *world) (*nebulapkg.Firewall, error) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetLevel(logrus.PanicLevel)
	var own []netip.Prefix
	for _, a := range w.local {
		own = append(own, netip.PrefixFrom(a, a.BitLen()))
	}
	f := nebulapkg.NewFirewall(log, 12*time.Minute, 3*time.Minute, 10*time.Minute, hostCert{networks: own})
	if err := f.AddRule(false, nebulafw.ProtoAny, nebulafw.PortAny, nebulafw.PortAny, nil, "any", "", "any", "", ""); err != nil {
		return nil, err
	}
	for _, r := range w.rules {
		first, last := int32(nebulafw.PortAny), int32(nebulafw.PortAny)
		if r.Protocol.HasPorts() && !r.Ports.IsAll() {
			first, last = int32(r.Ports.First), int32(r.Ports.Last)
		}
		for _, p := range r.sources {
			if err := f.AddRule(true, uint8(r.Protocol), first, last, nil, "", p.String(), "any", "", ""); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

func (e *nebula) forget() error {
	clear(e.f.Conntrack.Conns)
	e.f.Conntrack.TimerWheel = nebulapkg.NewTimerWheel[nebulafw.Packet](3*time.Minute, 12*time.Minute)
	if e.with {
		e.cache = make(nebulafw.ConntrackCache)
	}
	return nil
}

func (e *nebula) filter(d sg.Direction, packets [][]byte) (n int) {
	var p nebulafw.Packet
	for _, b := range packets {
		if nebulaParse(b, d == sg.Ingress, &p) == nil && e.f.Drop(p, d == sg.Ingress, e.peer, e.pool, e.cache) == nil {
			n++
		}
	}
	return n
}

func (e *nebula) close() {}
