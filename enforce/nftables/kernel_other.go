//go:build !linux

package nftables

import (
	"context"
	"hash/maphash"
	"iter"
	"net/netip"

	"example.com/secgroup/sg"
)

// kernel is missing on this system: dial says so, and nothing else is called.
type kernel struct{ commits uint32 }

func dial(string, maphash.Seed) (*kernel, error)                   { return nil, ErrPlatform }
func (*kernel) listen() moment                                     { return moment{} }
func (*kernel) onlyOwn(moment, int) (uint32, bool)                 { return 0, false }
func (*kernel) onlyOthers(uint32, uint32) bool                     { return false }
func (*kernel) caughtUp(uint32)                                    {}
func (*kernel) size(string) (int, error)                           { return 0, ErrPlatform }
func (*kernel) close() error                                       { return ErrPlatform }
func (*kernel) room() int                                          { return 0 }
func (*kernel) generation() (uint32, error)                        { return 0, ErrPlatform }
func (*kernel) inspect() (*installed, error)                       { return nil, ErrPlatform }
func (*kernel) emptyChain(*installed) (bool, error)                { return false, ErrPlatform }
func (*kernel) ruleComment(string) (string, error)                 { return "", ErrPlatform }
func (*kernel) lookups(string) ([]string, error)                   { return nil, ErrPlatform }
func (*kernel) objects() ([]namedObject, error)                    { return nil, ErrPlatform }
func (*kernel) object(namedObject) (namedObject, error)            { return namedObject{}, ErrPlatform }
func (*kernel) edit([]setEdit, *epochEdit) error                   { return ErrPlatform }
func (*kernel) turn([]dispatchEdit, []setEdit, *epochEdit) error   { return ErrPlatform }
func (*kernel) readMark(string) (epochMark, bool, error)           { return epochMark{}, false, ErrPlatform }
func (*kernel) fingerprint(func(string) bool) (fingerprint, error) { return nil, ErrPlatform }
func (*kernel) fingerprintOf(*installed, func(string) bool) (fingerprint, error) {
	return nil, ErrPlatform
}
func (*kernel) contents(string) (int, uint64, error)                       { return 0, 0, ErrPlatform }
func (*kernel) hashOf([]byte) uint64                                       { return 0 }
func (*kernel) epochInForce(*epochNames, uint16) (bool, error)             { return false, ErrPlatform }
func (*kernel) sweep(func(*connection) bool) (int, error)                  { return 0, ErrPlatform }
func (*kernel) remark(func(uint32) uint32) (int, error)                    { return 0, ErrPlatform }
func (*kernel) epochsInUse() (map[uint16]bool, error)                      { return nil, ErrPlatform }
func (*kernel) discard(*installed) error                                   { return ErrPlatform }
func (*kernel) remove() error                                              { return ErrPlatform }
func (*kernel) settle()                                                    {}
func (*kernel) fill(string, sg.Family, string, iter.Seq[netip.Addr]) error { return ErrPlatform }

func isTimeout(error) bool { return false }

func runNFT(context.Context, string, []byte, ...string) error { return ErrPlatform }
