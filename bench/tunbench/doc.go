// Command tunbench measures gateways between two TUN devices side by side: how
// much TCP and how many small UDP packets they carry, and what CPU time they
// spend on it. See the README beside it.
//
//	go run ./bench/tunbench
package main
