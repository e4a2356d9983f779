package twamp

// replays remember which of the latest packets of a session came already: TWAMP
// has no protection against packets that somebody recorded and sends again. The
// zero replays are ready to use.
type replays struct {
	begun   bool
	highest uint32
	seen    [replayWindow / 64]uint64 // bit n%replayWindow is of packet n
}

// replayWindow is how far packets may come out of order: at 10 000 packets per
// second 0.8 s. Older ones cannot be told from replays.
const replayWindow = 8192

// fresh books a packet and reports whether it is the first of its number.
func (r *replays) fresh(seq uint32) bool {
	ahead := int32(seq - r.highest)
	switch {
	case !r.begun:
		r.begun, r.highest = true, seq
	case ahead > 0:
		for range min(ahead, replayWindow) {
			r.highest++
			r.seen[r.highest/64%(replayWindow/64)] &^= 1 << (r.highest % 64)
		}
		r.highest = seq
	case ahead <= -replayWindow:
		return false
	}
	word, bit := &r.seen[seq/64%(replayWindow/64)], uint64(1)<<(seq%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
