//go:build !(linux || darwin || freebsd || windows)

package nat

import "net/netip"

func gateway() (netip.Addr, error) { return netip.Addr{}, ErrNoGateway }
