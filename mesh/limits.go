package mesh

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/admit"
)

// Limits are what a Server takes from others. Zero fields have defaults.
type Limits struct {
	Clients     int    // most clients; 0 means 4096
	PerSite     int    // most clients of one IPv4 address or IPv6 /64; 0 means 64
	Strangers   int    // packets a second from addresses that are not proven, in all; 0 means 2000
	PerStranger int    // the same for one site; 0 means 20
	ListRate    uint64 // bit/s of lists in all; 0 means 10 Mbit/s
}

func (l Limits) clients() int     { return cmp.Or(l.Clients, 4096) }
func (l Limits) perSite() int     { return cmp.Or(l.PerSite, 64) }
func (l Limits) strangers() int   { return cmp.Or(l.Strangers, 2000) }
func (l Limits) perStranger() int { return cmp.Or(l.PerStranger, 20) }
func (l Limits) listRate() uint64 { return cmp.Or(l.ListRate, 10_000_000) }

// A bucket is a token bucket: it fills at a rate up to its size. The zero
// bucket is full when first used.
type bucket struct {
	level float64
	at    time.Time
}

// take takes n from the bucket, or nothing if it does not hold so much.
func (b *bucket) take(n, perSecond, size float64, now time.Time) bool {
	if b.at.IsZero() {
		b.level = size
	} else {
		b.level = min(size, b.level+now.Sub(b.at).Seconds()*perSecond)
	}
	b.at = now
	if b.level < n {
		return false
	}
	b.level -= n
	return true
}

// buckets has one bucket for each site, in memory that does not grow: sites
// whose hash is the same share one.
type buckets struct {
	seed maphash.Seed
	all  [4096]bucket
}

func newBuckets() *buckets { return &buckets{seed: maphash.MakeSeed()} }

func (b *buckets) of(at netip.Addr) *bucket {
	return &b.all[maphash.Comparable(b.seed, admit.Site(at))%uint64(len(b.all))]
}
