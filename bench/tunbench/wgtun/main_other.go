//go:build !linux

// Command wgtun measures on Linux only.
package main

func main() { panic("wgtun: this needs Linux") }
