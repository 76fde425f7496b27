// Compare runs the same workloads through secgroup and its peers, in turns in
// one process, and writes what each took and by how much they differ. README.md
// says what the peers are, what they do and do not do, and how it is measured.
package main
