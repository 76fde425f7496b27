package main

import (
	"fmt"
	"io"
	"os"
)

// progress shows how far a long replay is. It stays silent unless its writer
// is a terminal and the file is large.
type progress struct {
	w           io.Writer // nil: silent
	size, shown int64
}

// largeFile is the size from which on progress is shown.
const largeFile = 8 << 20

func newProgress(w io.Writer, size int64) *progress {
	f, ok := w.(*os.File)
	if !ok || size < largeFile {
		return &progress{}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{w: w, size: size}
}

// at shows the share of the file that was read, a percent at a time.
func (p *progress) at(offset int64, packets int) {
	if p.w == nil || (offset-p.shown)*100 < p.size {
		return
	}
	p.shown = offset
	fmt.Fprintf(p.w, "\r%3d %%  %d packets", offset*100/p.size, packets)
}

func (p *progress) done() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
