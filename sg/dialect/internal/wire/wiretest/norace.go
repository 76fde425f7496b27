//go:build !race

package wiretest

// hostileSize is the size of a hostile document.
const hostileSize = 10 << 20
