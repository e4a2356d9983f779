package twamp

import (
	"sort"

	"github.com/sonde-net/sonde/result"
)

// An order counts packets that came after one with a higher number: RFC 4737,
// sections 3 and 4.2.1. The zero order is ready to use.
type order struct {
	n         uint64 // packets so far
	next      uint64 // lowest number that would be in order
	reordered uint64
	extent    uint64 // most positions that a packet came late
	// peaks are the packets that had the highest number when they came, with
	// their positions. The earliest packet with a higher number than a given one is
	// always among them.
	peaks []peak
}

type peak struct{ seq, at uint64 }

// mostPeaks bounds how far back an extent reaches.
const mostPeaks = 1024

// record takes the next packet in the order of coming. A packet must not be
// recorded again.
func (o *order) record(seq uint64) {
	at := o.n
	o.n++
	if seq >= o.next {
		o.next = seq + 1
		if len(o.peaks) == mostPeaks {
			o.peaks = append(o.peaks[:0], o.peaks[mostPeaks/2:]...)
		}
		o.peaks = append(o.peaks, peak{seq, at})
		return
	}
	o.reordered++
	first := sort.Search(len(o.peaks), func(i int) bool { return o.peaks[i].seq > seq })
	o.extent = max(o.extent, at-o.peaks[first].at)
}

func (o *order) reordering() result.Reordering {
	return result.Reordering{Packets: o.n, Reordered: o.reordered, Extent: o.extent}
}
