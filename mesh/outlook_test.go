package mesh

import (
	"testing"

	"github.com/sonde-net/sonde/mesh/wire"
)

// All pairs of nine kinds of NAT, as they were found to meet: d direct, r not.
// The laboratory tries the same with real ones.
func TestOutlook(t *testing.T) {
	kinds := []natKind{
		{wire.NoNAT, wire.EndpointIndependent},                 // none
		{wire.NoNAT, wire.AddressPortDependent},                // firewall
		{wire.EndpointIndependent, wire.EndpointIndependent},   // full cone
		{wire.EndpointIndependent, wire.AddressDependent},      // restricted
		{wire.EndpointIndependent, wire.AddressPortDependent},  // port-restricted
		{wire.AddressPortDependent, wire.AddressPortDependent}, // symmetric
		{wire.SteadyStep, wire.AddressPortDependent},           // predictable
		{wire.EndpointIndependent, wire.AddressPortDependent},  // carrier, port-restricted
		{wire.AddressPortDependent, wire.AddressPortDependent}, // carrier, symmetric
	}
	for i, row := range []string{
		"ddddddddd",
		"ddddd" + "rr" + "dr",
		"ddddddddd",
		"ddddddddd",
		"ddddd" + "rr" + "dr",
		"drdd" + "rrrrr",
		"drdd" + "rrrrr",
		"ddddd" + "rr" + "dr",
		"drdd" + "rrrrr",
	} {
		for j, want := range row {
			direct, why := outlook(kinds[i], kinds[j])
			if direct != (want == 'd') || direct != (why == wire.ReasonNone) {
				t.Errorf("kinds %d and %d: direct %v, %s", i, j, direct, ReasonText(why))
			}
		}
	}
	if direct, _ := outlook(natKind{}, kinds[5]); !direct {
		t.Error("nothing is known of one side, but it is given up")
	}
	if direct, why := outlook(natKind{wire.UDPBlocked, wire.UDPBlocked}, kinds[0]); direct || why != wire.ReasonUDPBlocked {
		t.Errorf("UDP blocked: %v, %v", direct, why)
	}
}

// Every reason has words, and those of a fault have advice or need none.
func TestReasons(t *testing.T) {
	for r := wire.ReasonNoCandidate; r <= wire.ReasonRelayRefused; r++ {
		if ReasonText(r) == "" {
			t.Errorf("reason %d has no words", r)
		}
	}
	if ReasonText(wire.ReasonNone) != "" || hintFor(wire.ReasonBothHard) == "" {
		t.Error("words for no reason, or no advice")
	}
}
