package nat

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/sonde-net/sonde/internal/testnet"
)

// A miniupnpd is that program on the router between a host and a server.
type miniupnpd struct {
	inside, router, outside *testnet.Namespace
	table                   *nftables.Table
	chains                  []*nftables.Chain
}

// startMiniupnpd starts it, or skips the test. It refuses documentation addresses
// outside, so these look like others; nothing leaves the namespaces.
func startMiniupnpd(t *testing.T) *miniupnpd {
	testnet.NeedNamespaces(t)
	program, err := exec.LookPath("miniupnpd")
	if err != nil {
		t.Skip("miniupnpd is not installed (Debian: miniupnpd-nftables)")
	}
	m := &miniupnpd{inside: testnet.NewNamespace(t), router: testnet.NewNamespace(t), outside: testnet.NewNamespace(t)}
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: m.router, Name: "wan", Addresses: []string{"193.7.10.1/24"}},
		testnet.End{In: m.outside, Name: "eth0", Addresses: []string{"193.7.10.10/24", "193.7.10.11/24"}})
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: m.router, Name: "lan", Addresses: []string{"192.168.1.1/24"}},
		testnet.End{In: m.inside, Name: "eth0", Addresses: []string{"192.168.1.2/24"}})
	m.inside.Route(t, "default", "192.168.1.1")
	m.router.Forward(t)
	// What is mapped must pass, so the router does not drop what is unasked.
	m.router.Masquerade(t, testnet.Masquerade{Out: "wan", FullyRandom: true, Leaky: true})
	m.makeChains(t)
	folder := t.TempDir()
	config := filepath.Join(folder, "miniupnpd.conf")
	text := fmt.Sprintf(`ext_ifname=wan
ext_ip=193.7.10.1
listening_ip=lan
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
uuid=00000000-0000-4000-8000-000000000001
upnp_table_name=sonde
upnp_nat_table_name=sonde
upnp_forward_chain=forward
upnp_nat_chain=prerouting
upnp_nat_postrouting_chain=postrouting
lease_file=%s
allow 1024-65535 192.168.1.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
`, filepath.Join(folder, "leases"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(program, "-d", "-f", config, "-P", filepath.Join(folder, "pid"))
	cmd.Stdout, cmd.Stderr = &out, &out
	m.router.Start(t, cmd)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("miniupnpd:\n%s", out.String()) // it has ended
		}
	})
	return m
}

// makeChains makes those that miniupnpd puts its rules into.
func (m *miniupnpd) makeChains(t *testing.T) {
	var err error
	m.router.Do(func() {
		var c *nftables.Conn
		if c, err = nftables.New(); err != nil {
			return
		}
		m.table = c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "sonde"})
		add := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority) {
			m.chains = append(m.chains, c.AddChain(&nftables.Chain{Table: m.table, Name: name, Type: kind, Hooknum: hook, Priority: &priority}))
		}
		add("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, -10)
		add("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -110)
		add("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 90)
		err = c.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mapped is how many rules there are for mappings.
func (m *miniupnpd) mapped(t *testing.T) int {
	n := 0
	var err error
	m.router.Do(func() {
		var c *nftables.Conn
		if c, err = nftables.New(); err != nil {
			return
		}
		var rules []*nftables.Rule
		rules, err = c.GetRules(m.table, m.chains[1])
		n = len(rules)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMiniupnpd: a real router maps a port in each protocol; a server outside
// reaches us there, and nothing is left afterwards.
func TestMiniupnpd(t *testing.T) {
	t.Parallel()
	d := startMiniupnpd(t)
	defer serve(t, d.outside.ListenPacket, addrs("193.7.10.10:3478", "193.7.10.10:3479", "193.7.10.11:3478", "193.7.10.11:3479"))()
	for _, protocol := range PortProtocols() {
		open := func() (*Exchange, func()) {
			c, err := d.inside.ListenPacket(t.Context(), "udp4", "192.168.1.2:0")
			if err != nil {
				t.Fatal(err)
			}
			e, over := Listen(c)
			return e, func() { c.Close(); <-over }
		}
		mapped, closeMapped := open()
		ask, closeAsk := open()
		m := &Mapper{Router: netip.MustParseAddr("192.168.1.1"), Local: mapped.Local, Protocols: []string{protocol}, ListenPacket: d.inside.ListenPacket, Dial: d.inside.DialContext}
		m.Prove = func(ctx context.Context, p PortMapping) (*bool, string) {
			return Prove(ctx, mapped, ask, Server{At: netip.MustParseAddrPort("193.7.10.10:3478")}, p, AddressPortDependent)
		}
		m.Trace = func(s Step) { t.Logf("%s: %s: %s (%v)", s.Protocol, s.Asked, s.Answer, s.Took) }
		var got *PortMapping
		there := 0
		var err error
		for end := time.Now().Add(10 * time.Second); got == nil && time.Now().Before(end); { // until it has started
			ctx, stop := context.WithCancel(t.Context())
			err = m.Run(ctx, func(p PortMapping) {
				got, there = &p, d.mapped(t)
				stop()
			})
			stop()
		}
		switch {
		case got == nil:
			t.Errorf("%s: %v", protocol, err)
		case err != nil || got.External.Addr().String() != "193.7.10.1" || got.Reachable == nil || !*got.Reachable || there != 1:
			t.Errorf("%s: %+v (%s), %d rules, %v", protocol, got, got.Why, there, err)
		}
		if n := d.mapped(t); n != 0 {
			t.Errorf("%s: %d mappings are left", protocol, n)
		}
		closeAsk()
		closeMapped()
	}
}
