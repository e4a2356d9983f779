package nat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestParseRoutes(t *testing.T) {
	word := func(a string) string {
		b := netip.MustParseAddr(a).As4()
		return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(b[:]))
	}
	const heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	row := func(to, via, flags string, metric int, mask string) string {
		return fmt.Sprintf("eth0\t%s\t%s\t%s\t0\t0\t%d\t%s\t0\t0\t0\n", word(to), word(via), flags, metric, word(mask))
	}
	for _, tt := range []struct{ name, text, want string }{
		{"none", heading + row("192.168.1.0", "0.0.0.0", "0001", 0, "255.255.255.0"), "invalid IP"},
		{"one", heading + row("192.168.1.0", "0.0.0.0", "0001", 0, "255.255.255.0") + row("0.0.0.0", "192.168.1.1", "0003", 100, "0.0.0.0"), "192.168.1.1"},
		{"the least metric", heading + row("0.0.0.0", "10.0.0.1", "0003", 600, "0.0.0.0") + row("0.0.0.0", "192.168.1.1", "0003", 100, "0.0.0.0"), "192.168.1.1"},
		{"down", heading + row("0.0.0.0", "10.0.0.1", "0002", 0, "0.0.0.0"), "invalid IP"},
		{"half of the world", heading + row("0.0.0.0", "10.0.0.1", "0003", 0, "128.0.0.0"), "invalid IP"},
		{"nonsense", heading + "eth0 00000000 zz 0003 0 0 x 00000000 0 0 0\n", "invalid IP"},
		{"empty", "", "invalid IP"},
	} {
		got, err := parseRoutes(strings.NewReader(tt.text))
		if err != nil || got.String() != tt.want {
			t.Errorf("%s: %v, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}
