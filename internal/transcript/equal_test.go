package transcript

import "net/netip"

// sameEnds lets cmp compare addresses.
func sameEnds(a, b netip.AddrPort) bool { return a == b }
