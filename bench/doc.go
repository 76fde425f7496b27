// Package bench holds benchmarks of the whole packet path and of policy
// changes, and the guard of the import graph, all of them tests. What it
// measures and how to run it stands in README.md; the generators are package
// workload.
package bench
