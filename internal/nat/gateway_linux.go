package nat

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

func gateway() (netip.Addr, error) {
	// That of the thread: it may be in a network namespace of its own.
	f, err := os.Open("/proc/thread-self/net/route")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("nat: find the default route: %w", err)
	}
	defer f.Close()
	return parseRoutes(f)
}

// parseRoutes finds the default route with the least metric in what Linux has in
// /proc/net/route: a heading, and lines of interface, destination, gateway,
// flags, references, use, metric, mask. Addresses are hexadecimal words in the
// byte order of the host.
func parseRoutes(r io.Reader) (netip.Addr, error) {
	const up, viaGateway = 1, 2 // RTF_UP, RTF_GATEWAY
	var found netip.Addr
	least := uint64(1 << 63)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		gw, err := strconv.ParseUint(f[2], 16, 32)
		flags, err2 := strconv.ParseUint(f[3], 16, 32)
		metric, err3 := strconv.ParseUint(f[6], 10, 32)
		if err != nil || err2 != nil || err3 != nil || flags&(up|viaGateway) != up|viaGateway || metric >= least {
			continue
		}
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], uint32(gw))
		found, least = netip.AddrFrom4(b), metric
	}
	if err := lines.Err(); err != nil {
		return netip.Addr{}, fmt.Errorf("nat: find the default route: %w", err)
	}
	return found, nil
}
