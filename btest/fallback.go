package btest

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
)

// fallbackTime is how long an address that hung up on EC-SRP5 is offered MD5.
const fallbackTime = 5 * time.Minute

// fallbackMost bounds the addresses that are remembered.
const fallbackMost = 4096

// A fallback remembers the addresses that hung up when they were offered
// EC-SRP5. Only the address tells one client from another before the login, so
// that is all it goes by; a login that fails forgets the address again.
type fallback struct {
	mu    sync.Mutex // guards until
	until map[netip.Addr]time.Time
}

// hungUp notes that peer closed the connection on the offer of EC-SRP5.
func (f *fallback) hungUp(peer netip.Addr, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.until == nil {
		f.until = map[netip.Addr]time.Time{}
	}
	if len(f.until) >= fallbackMost {
		maps.DeleteFunc(f.until, func(_ netip.Addr, until time.Time) bool { return now.After(until) })
	}
	if len(f.until) < fallbackMost {
		f.until[admit.Site(peer)] = now.Add(fallbackTime)
	}
}

// wantsMD5 reports whether peer is to be offered MD5.
func (f *fallback) wantsMD5(peer netip.Addr, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Before(f.until[admit.Site(peer)])
}

// forget takes peer off the list.
func (f *fallback) forget(peer netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.until, admit.Site(peer))
}
