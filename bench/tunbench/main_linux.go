package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds; every gateway runs once in each")
	d := flag.Duration("time", 2*time.Second, "length of a measurement")
	only := flag.String("only", "", "names of the gateways to measure, with commas; default all, and only then the results are written")
	dir := flag.String("dir", "bench/tunbench", "this directory, where README.md and results are")
	child := flag.String("gateway", "", "run a gateway; for the program itself")
	flag.Parse()
	chosen, err := usage(*rounds, *d, *only, *child, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "tunbench:", err)
		os.Exit(2)
	}
	if *child != "" {
		err = runGateway(chosen[0])
	} else {
		err = bench(*rounds, *d, chosen, *only == "", *dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tunbench:", err)
		os.Exit(1)
	}
}

// usage returns the gateways that are asked for; what is wrong with the command
// line is an error.
func usage(rounds int, d time.Duration, only, child string, args []string) ([]variant, error) {
	switch {
	case len(args) > 0:
		return nil, fmt.Errorf("unexpected argument %q: -only says which gateways", args[0])
	case rounds < 1 || d <= 0:
		return nil, errors.New("-rounds and -time: at least one round, longer than nothing")
	case child != "":
		return choose(child)
	}
	return choose(only)
}

func bench(rounds int, d time.Duration, chosen []variant, save bool, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "tunbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	var commands [][]string
	for _, v := range chosen {
		command := []string{self, "-gateway", v.name}
		if v.module != "" {
			fmt.Println("building", v.module)
			command = []string{filepath.Join(scratch, v.module)}
			build := exec.Command("go", "build", "-buildvcs=false", "-o", command[0], ".")
			build.Dir = filepath.Join(dir, v.module)
			if out, err := build.CombinedOutput(); err != nil {
				return fmt.Errorf("build %s: %w\n%s", v.module, err, out)
			}
		}
		commands = append(commands, command)
	}
	var s series
	for _, v := range chosen {
		s.names, s.titles = append(s.names, v.name), append(s.titles, v.title)
	}
	for round := range rounds {
		for i := range chosen {
			// Who follows whom changes from round to round.
			i = (i + round) % len(chosen)
			m, err := once(commands[i], d)
			if err != nil {
				return fmt.Errorf("%s: %w", chosen[i].name, err)
			}
			m.name, m.round = chosen[i].name, round
			s.all = append(s.all, m)
			fmt.Printf("round %d of %d  %-13s %6.2f Gbit/s %6.0f ns/KB   %6.0f kpps %6.0f ns/packet\n",
				round+1, rounds, m.name, m.gbits, m.nsPerKB, m.kpps, m.nsPerPacket)
		}
	}
	fmt.Println()
	fmt.Println(s.table())
	if !save {
		return nil
	}
	return s.save(dir, about(rounds, d))
}

// once measures one gateway, between hosts that nobody used before.
func once(command []string, d time.Duration) (m measurement, err error) {
	const warm = 500 * time.Millisecond
	client, err := newHost()
	if err != nil {
		return m, err
	}
	defer close(client.work)
	defer client.file.Close()
	server, err := newHost()
	if err != nil {
		return m, err
	}
	defer close(server.work)
	defer server.file.Close()
	g, err := start(command, client, server)
	if err != nil {
		return m, err
	}
	defer g.stop()
	rate, ns, err := measure(unix.SOCK_STREAM, g, client, server, warm, d)
	if err != nil {
		return m, fmt.Errorf("tcp: %w", err)
	}
	m.gbits, m.nsPerKB = rate*8/1e9, ns*1024
	rate, ns, err = measure(unix.SOCK_DGRAM, g, client, server, warm, d)
	if err != nil {
		return m, fmt.Errorf("udp: %w", err)
	}
	m.kpps, m.nsPerPacket = rate/1e3, ns
	return m, nil
}
