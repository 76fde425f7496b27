//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
)

func demo(context.Context, io.Writer) error {
	return errors.New("the demo needs Linux: it builds network namespaces")
}
