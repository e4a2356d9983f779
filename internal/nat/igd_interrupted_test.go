package nat

import (
	"context"
	"net/netip"
	"testing"

	"github.com/huin/goupnp/soap"
)

// A fakeIGD has the port mapped for another host.
type fakeIGD struct {
	stop    func()
	deleted []uint16
}

func (f *fakeIGD) AddPortMappingCtx(context.Context, string, uint16, string, uint16, string, bool, string, uint32) error {
	f.stop() // Ctrl-C while the router answers
	e := &soap.SOAPFaultError{}
	e.Detail.UPnPError.Errorcode = upnpConflict
	return e
}
func (f *fakeIGD) DeletePortMappingCtx(_ context.Context, _ string, p uint16, _ string) error {
	f.deleted = append(f.deleted, p)
	return nil
}
func (f *fakeIGD) GetExternalIPAddressCtx(context.Context) (string, error) { return "203.0.113.1", nil }
func (f *fakeIGD) GetSpecificPortMappingEntryCtx(context.Context, string, uint16, string) (uint16, string, bool, string, uint32, error) {
	return 5000, "192.168.1.77", true, "somebody else", 0, nil
}

// Whoever is interrupted while the router refuses a port that is another host's
// leaves that mapping alone.
func TestInterruptedMappingIsNotTaken(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	f := &fakeIGD{stop: stop}
	g := &igd{questions: &questions{trace: func(Step) {}}, local: netip.MustParseAddrPort("192.168.1.5:5000"), services: []igdService{f}, lease: 120}
	m := &Mapper{}
	_, _ = m.try(ctx, g, func(PortMapping) {}) // it was interrupted
	if len(f.deleted) > 0 {
		t.Error("the mapping of another host was removed")
	}
}
