package nat

import (
	"testing"

	"github.com/sonde-net/sonde/internal/testnet"
)

// Behind real NATs of the kernel all is found as it is.
func TestKernelNATs(t *testing.T) {
	testnet.NeedNamespaces(t)
	for _, tt := range kernelNATs {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			outside, router, inside := testnet.NewNamespace(t), testnet.NewNamespace(t), testnet.NewNamespace(t)
			testnet.Wire(t, testnet.Cable{}, testnet.End{In: router, Name: "wan", Addresses: []string{"192.0.2.1/24"}},
				testnet.End{In: outside, Name: "eth0", Addresses: []string{"192.0.2.10/24", "192.0.2.11/24"}})
			testnet.Wire(t, testnet.Cable{}, testnet.End{In: router, Name: "lan", Addresses: []string{"192.168.1.1/24"}},
				testnet.End{In: inside, Name: "eth0", Addresses: []string{"192.168.1.2/24"}})
			inside.Route(t, "default", "192.168.1.1")
			router.Forward(t)
			tt.nat.Out = "wan"
			router.Masquerade(t, tt.nat)
			stop := serve(t, outside.ListenPacket, four)
			defer stop()
			r := discover(t, inside.ListenPacket, "192.168.1.2", four[0], nil)
			if r.Mapping != tt.mapping || r.Filtering != AddressPortDependent || *r.PortKept != tt.kept || r.Hairpin == nil || *r.Hairpin {
				t.Errorf("mapping %v, filtering %v, port kept %v, remarks %q, %+v", r.Mapping, r.Filtering, *r.PortKept, r.Remarks, r.Reflections)
			}
		})
	}
}

var kernelNATs = []struct {
	name    string
	nat     testnet.Masquerade
	mapping Behaviour
	kept    bool
}{
	{"port-restricted", testnet.Masquerade{}, EndpointIndependent, true},
	{"symmetric", testnet.Masquerade{FullyRandom: true}, AddressPortDependent, false},
}
