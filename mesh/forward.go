package mesh

import (
	"cmp"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// A Relaying lets a server carry packets between nodes that have no way of
// their own. Zero fields have defaults. Rates are bit/s of what is carried.
type Relaying struct {
	PairRate uint64 // 0 means 64 kbit/s
	NodeRate uint64 // 0 means 256 kbit/s
	Rate     uint64 // in all; 0 means 10 Mbit/s
	Bytes    uint64 // in all, until the server ends; 0 is no limit
}

// relaying is a Relaying at work.
type relaying struct {
	Relaying
	pairs map[[2]wire.ID]*bucket
	nodes map[wire.ID]*bucket
	all   bucket

	bytes, packets, refused uint64
}

func newRelaying(r Relaying) *relaying {
	r.PairRate = cmp.Or(r.PairRate, 64_000)
	r.NodeRate = cmp.Or(r.NodeRate, 256_000)
	r.Rate = cmp.Or(r.Rate, 10_000_000)
	return &relaying{Relaying: r, pairs: map[[2]wire.ID]*bucket{}, nodes: map[wire.ID]*bucket{}}
}

// maxPairs bounds how many pairs are relayed between at once. When more come,
// all start again with full buckets.
const maxPairs = 16384

// forward carries a packet from one node to another: both are proven nodes in
// the table, and the sender has reported that it has no way to the other.
func (h *hub) forward(now time.Time, c *client, l wire.Relay) {
	r, to := h.relay, h.clients[l.Peer]
	if r == nil || to == nil || to == c || !to.sonde || !c.sonde || l.Hops == 0 || !c.needsRelay(l.Peer) {
		h.drops[dropRelay]++
		return
	}
	if !r.pays(now, c.id, to.id, len(l.Inner)) {
		r.refused++
		return
	}
	r.packets++
	r.bytes += uint64(len(l.Inner))
	h.send(to.main(), &wire.Packet{ID: to.id, Ext: stream(wire.Relay{Peer: c.id, Hops: l.Hops - 1, Inner: l.Inner})})
}

func (c *client) needsRelay(peer wire.ID) bool {
	f, ok := c.findings[peer]
	return ok && f.State != wire.StateDirect
}

// pays takes what a packet costs from the buckets; false if one lacks it.
func (r *relaying) pays(now time.Time, from, to wire.ID, n int) bool {
	if r.Bytes > 0 && r.bytes+uint64(n) > r.Bytes {
		return false
	}
	pair := [2]wire.ID{from, to}
	if string(from[:]) > string(to[:]) {
		pair = [2]wire.ID{to, from}
	}
	if len(r.pairs) >= maxPairs {
		clear(r.pairs)
		clear(r.nodes)
	}
	return bucketOf(r.pairs, pair).takeBits(n, r.PairRate, now) &&
		bucketOf(r.nodes, from).takeBits(n, r.NodeRate, now) &&
		r.all.takeBits(n, r.Rate, now)
}

func bucketOf[K comparable](m map[K]*bucket, key K) *bucket {
	b := m[key]
	if b == nil {
		b = &bucket{}
		m[key] = b
	}
	return b
}

// takeBits takes n bytes from a bucket that holds a second's worth.
func (b *bucket) takeBits(n int, rate uint64, now time.Time) bool {
	return b.take(float64(8*n), float64(rate), float64(rate), now)
}
