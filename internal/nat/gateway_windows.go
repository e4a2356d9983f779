package nat

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/windows"
)

func gateway() (netip.Addr, error) {
	var table *windows.MibIpForwardTable2
	if err := windows.GetIpForwardTable2(windows.AF_INET, &table); err != nil {
		return netip.Addr{}, fmt.Errorf("nat: find the default route: %w", err)
	}
	defer windows.FreeMibTable(unsafe.Pointer(table))
	var found netip.Addr
	least := ^uint32(0)
	for _, r := range table.Rows() {
		if r.DestinationPrefix.PrefixLength != 0 || r.Metric >= least {
			continue
		}
		via := (*windows.RawSockaddrInet4)(unsafe.Pointer(&r.NextHop))
		if a := netip.AddrFrom4(via.Addr); !a.IsUnspecified() {
			found, least = a, r.Metric
		}
	}
	return found, nil
}
