//go:build !linux

package main

import "time"

var began = time.Now()

// cpu stands in for the CPU time of the process: the time that has passed.
func cpu() time.Duration { return time.Since(began) }

// residentBytes is not known.
func residentBytes() float64 { return 0 }
