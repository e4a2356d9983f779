package twamp

import "github.com/sonde-net/sonde/twamp/wire"

// An outbox gathers replies, so that they leave in one call.
type outbox struct {
	octets  []byte
	parcels []parcel
}

const (
	// mostOctets is when an outbox is full, so that its memory stays small.
	mostOctets = 256 << 10
	// What leaves as one piece has as many segments as every kernel takes, and
	// fits a datagram.
	mostSegments = 64
)

func (o *outbox) full() bool { return len(o.octets) >= mostOctets }

func (o *outbox) empty() {
	o.octets, o.parcels = o.octets[:0], o.parcels[:0]
}

// add appends a reply, which lies behind the octets before it. With join it
// leaves together with the one before, if both agree.
func (o *outbox) add(size int, p parcel, join bool) {
	start := len(o.octets) - size
	if join && o.join(start, size, p) {
		return
	}
	p.b = o.octets[start:]
	o.parcels = append(o.parcels, p)
}

// join puts a reply behind the latest one, of which it must be the like. Only
// the last of several may be shorter.
func (o *outbox) join(start, size int, p parcel) bool {
	if len(o.parcels) == 0 {
		return false
	}
	before := &o.parcels[len(o.parcels)-1]
	each := before.segment
	if each == 0 {
		each = len(before.b)
	}
	total := len(before.b) + size
	if size > each || len(before.b)%each != 0 || total > each*mostSegments || total > wire.MaxPacketLen ||
		before.class != p.class || before.to != p.to || before.stamp || p.stamp {
		return false
	}
	before.b = o.octets[start-len(before.b):]
	before.segment = each
	return true
}
