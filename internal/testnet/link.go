package testnet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A Link says what one direction of a path does to the packets on it. The zero
// Link passes all of them at once.
//
// A packet meets, in this order, the MTU, Loss, the bottleneck (Queue and Rate)
// and the way behind it (Delay, Jitter, Reorder, Duplicate).
type Link struct {
	Delay  time.Duration // of each packet, after the bottleneck
	Jitter time.Duration // each takes 0 to this much longer, evenly spread; the order is kept

	Loss      Pick          // vanish
	Duplicate Pick          // arrive twice, the copy right behind
	Reorder   Pick          // take ReorderBy longer, while those behind go ahead
	ReorderBy time.Duration // 0 means 10 ms

	Rate  uint64 // bit/s through the bottleneck; 0 is no limit
	Queue int    // bytes the bottleneck holds, with the packet it is sending; 0 is no limit, nor without a Rate
	// Wait makes a full queue drop nothing, as that of one's own network card: a
	// write to a UDP socket in memory waits, other packets queue beyond the limit.
	Wait bool

	MTU       int  // bytes of the largest IP packet; 0 is no limit, and 1500 for TCP
	BlackHole bool // larger packets vanish; otherwise the write returns EMSGSIZE

	Seed uint64 // of the chances; lines of one network differ even if it is the same
}

// A Pick chooses the packets that something happens to. It is asked once for
// each packet that enters the link, n counts them from 0, and chance is the
// link's own. A nil Pick chooses none.
type Pick func(n uint64, chance *rand.Rand) bool

// Every picks each nth packet: Every(10) picks 9, 19, 29 and so on.
func Every(nth uint64) Pick {
	return func(n uint64, _ *rand.Rand) bool { return nth > 0 && (n+1)%nth == 0 }
}

// At picks the packets with these numbers, counted from 0.
func At(numbers ...uint64) Pick {
	return func(n uint64, _ *rand.Rand) bool { return slices.Contains(numbers, n) }
}

// Share picks packets by chance, each with the probability p, 0 to 1.
func Share(p float64) Pick {
	if !(p >= 0 && p <= 1) {
		panic(fmt.Sprintf("testnet: Share(%v): a probability is 0 to 1", p))
	}
	return func(_ uint64, chance *rand.Rand) bool { return chance.Float64() < p }
}

// Counts is what a Line did. Once nothing is under way any more,
//
//	Offered = Passed + Lost + TailDropped + TooBig + Unplugged
type Counts struct {
	Offered     uint64 // packets that were to be carried
	Passed      uint64 // arrived, copies not counted
	Bytes       uint64 // of all that arrived, with IP headers and copies
	Lost        uint64 // vanished by Loss
	Duplicated  uint64 // copies that arrived
	Reordered   uint64 // of Passed: arrived after one that was offered later (RFC 4737, section 3)
	TailDropped uint64 // found the queue full
	TooBig      uint64 // exceeded the MTU
	Unplugged   uint64 // were offered or under way while the line was unplugged
}
