package mesh

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
)

// A node whose ports can be foretold is met by one that comes later, when the NAT
// has given many ports to others, as fast as by one that comes at once.
func TestLaboratoryLate(t *testing.T) {
	testnet.NeedNamespaces(t)
	w, sides := newSegment(t, [2]string{predictable, portRestricted})
	defer w.end()
	early := w.at(sides[0], 0)
	for end := time.Now().Add(20 * time.Second); !early.Status().NAT.Known; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the NAT is not known")
		}
	}
	c, err := sides[0].ListenPacket(t.Context(), "udp", sides[0].address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range uint16(50) {
		to := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.10"), 40000+i)
		if _, err := c.WriteTo([]byte{0}, net.UDPAddrFromAddrPort(to)); err != nil {
			t.Fatal(err)
		}
	}
	late := w.at(sides[1], 1)
	isDirect := func(r *resident) bool {
		p := r.Status().Peers
		return len(p) == 1 && p[0].State == direct
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && !(isDirect(early) && isDirect(late)); {
		time.Sleep(50 * time.Millisecond)
	}
	for _, r := range []*resident{early, late} {
		// The relay begins 2 s after the peer was listed.
		if !isDirect(r) || slices.Contains(r.notes(), "path_relay") {
			t.Errorf("%s: %v, %+v", r.Name, r.notes(), r.Status().Peers)
		}
		t.Logf("%s: direct %v after it was listed", r.Name, r.took())
	}
}
