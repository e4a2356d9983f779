package selfcheck

import (
	"encoding/binary"
	"time"

	"github.com/sonde-net/sonde/internal/stream"
)

// stamp numbers a datagram, as every protocol does.
func stamp(b []byte, seq uint64, _ time.Time) { binary.BigEndian.PutUint32(b, uint32(seq)) }

func parse(b []byte) (stream.Mark, bool) {
	if len(b) < 4 {
		return stream.Mark{}, false
	}
	return stream.Mark{Seq: binary.BigEndian.Uint32(b)}, true
}
