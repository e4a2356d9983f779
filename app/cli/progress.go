package cli

import (
	"fmt"
	"io"
)

// A progress says at a terminal, in one line that goes away, how far something is
// that prints nothing meanwhile.
type progress struct {
	to    io.Writer
	shown bool
	of    int
}

// at says that n parts are done.
func (p progress) at(n int) {
	if p.shown {
		fmt.Fprintf(p.to, "\r%d of %d done ", n, p.of)
	}
}

// end takes the line away.
func (p progress) end() {
	if p.shown {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}
