//go:build !linux

package tun

import "errors"

func open(o Options) (*TUN, error) {
	return nil, &Error{Op: "open", Name: o.Name, Err: errors.ErrUnsupported}
}
