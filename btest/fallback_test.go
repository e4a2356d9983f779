package btest

import (
	"net/netip"
	"testing"
	"time"
)

func TestFallback(t *testing.T) {
	var f fallback
	now := time.Unix(1000, 0)
	old, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if f.wantsMD5(old, now) {
		t.Error("MD5 before anybody hung up")
	}
	f.hungUp(old, now)
	if !f.wantsMD5(old, now.Add(fallbackTime-1)) || f.wantsMD5(other, now) {
		t.Error("only the address that hung up is offered MD5")
	}
	if f.wantsMD5(old, now.Add(fallbackTime)) {
		t.Error("MD5 for ever")
	}
	f.hungUp(old, now)
	f.forget(old)
	if f.wantsMD5(old, now) {
		t.Error("MD5 after a login failed")
	}
	for n := range fallbackMost + 100 {
		f.hungUp(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), now)
	}
	if len(f.until) > fallbackMost {
		t.Errorf("%d addresses remembered", len(f.until))
	}
}
