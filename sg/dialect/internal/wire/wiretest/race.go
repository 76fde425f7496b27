//go:build race

package wiretest

// hostileSize is smaller with the race detector, which makes it all slow.
const hostileSize = 1 << 20
