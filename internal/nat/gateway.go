package nat

import (
	"errors"
	"net/netip"
)

// ErrNoGateway says that this host has no default route over IPv4, so that there
// is no router to ask.
var ErrNoGateway = errors.New("nat: no default route over IPv4, so no router to ask")

// Gateway is the router of the default route over IPv4. Its error wraps
// ErrNoGateway if there is none.
func Gateway() (netip.Addr, error) {
	a, err := gateway()
	if err != nil {
		return netip.Addr{}, err
	}
	if !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}, ErrNoGateway
	}
	return a, nil
}
