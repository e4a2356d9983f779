//go:build !nano

package cli

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sonde-net/sonde/internal/nat"
)

// mappingWords and filteringWords say what a behaviour means to somebody who
// has not read RFC 4787.
var mappingWords = map[nat.Behaviour]string{
	nat.NoNAT:                "none: others see the address that this host has",
	nat.EndpointIndependent:  "endpoint-independent: one outside port for all destinations, so others can be told where we are",
	nat.AddressDependent:     "address-dependent: another outside port for each destination address",
	nat.AddressPortDependent: "address and port-dependent: another outside port for each destination, so nobody can be told where we are",
}

var filteringWords = map[nat.Behaviour]string{
	nat.EndpointIndependent:  "endpoint-independent: anybody gets in at an open port",
	nat.AddressDependent:     "address-dependent: only addresses that we have sent to get in",
	nat.AddressPortDependent: "address and port-dependent: only the very ports that we have sent to get in",
}

// print writes what was found as a table with what it means.
func (d *natDocument) print(w io.Writer) {
	row := func(name, text string) { fmt.Fprintf(w, "  %-14s %s\n", name, text) }
	unless := func(isNil bool, text, why string) string {
		if isNil {
			return "not known: " + why
		}
		return text
	}
	for _, family := range []struct {
		name, key string
		view      *nat.View
	}{{"IPv4", "ipv4", d.IPv4}, {"IPv6", "ipv6", d.IPv6}} {
		v := family.view
		if v == nil {
			fmt.Fprintf(w, "%s: not looked at: %s\n", family.name, d.Unknown[family.key])
			continue
		}
		fmt.Fprintf(w, "%s, asked %v\n", family.name, v.Server)
		if v.Reflexive == nil {
			row("", "nothing found: "+v.Unknown["reflexive"])
			continue
		}
		row("from outside", fmt.Sprintf("%v (here %v), %v away", v.Reflexive, v.Local, v.RTT.Round(10*time.Microsecond)))
		row("NAT mapping", unless(v.Mapping == nil, mappingWords[v.Report.Mapping], v.Unknown["mapping"]))
		row("lets in", unless(v.Filtering == nil, filteringWords[v.Report.Filtering], v.Unknown["filtering"]))
		if v.Old != nil {
			row("old name", *v.Old)
		}
		if v.Report.Mapping != nat.NoNAT {
			row("port kept", unless(v.PortKept == nil, yesNo(v.PortKept), v.Unknown["port_kept"]))
			if v.Step != nil {
				row("port step", fmt.Sprintf("%d: the next outside port can be guessed", *v.Step))
			}
			row("hairpin", unless(v.Hairpin == nil, yesNo(v.Hairpin), v.Unknown["hairpin"]))
		}
		mtu := 0
		if v.MTU != nil {
			mtu = *v.MTU
		}
		row("MTU", unless(v.MTU == nil, fmt.Sprintf("%d bytes to the server", mtu), v.Unknown["mtu_bytes"]))
		for _, r := range v.Remarks {
			row("note", r)
		}
	}
	udp := "not known: " + d.Unknown["udp_blocked"]
	if d.UDPBlocked != nil {
		udp = map[bool]string{true: "blocked: the server's host answers, but nothing comes back over UDP", false: "passes"}[*d.UDPBlocked]
	}
	fmt.Fprintf(w, "UDP: %s\n", udp)
	d.printRouter(w)
	for _, all := range []struct {
		title string
		lines []string
	}{{"What it means", d.Meaning}, {"What would change it", d.Advice}} {
		if len(all.lines) > 0 {
			fmt.Fprintf(w, "%s\n", all.title)
		}
		for _, line := range all.lines {
			fmt.Fprintf(w, "  - %s\n", line)
		}
	}
}

func (d *natDocument) printRouter(w io.Writer) {
	if d.Gateway == nil {
		fmt.Fprintf(w, "Router: %s\n", d.Unknown["gateway"])
		return
	}
	fmt.Fprintf(w, "Router %v, asked to map a port\n", d.Gateway)
	if why := d.Unknown["port_mappings"]; why != "" {
		fmt.Fprintf(w, "  not asked: %s\n", why)
	}
	for _, p := range d.PortMappings {
		text := p.Fault
		if p.External != nil {
			text = fmt.Sprintf("maps %v in %v", p.External, p.Took.Round(100*time.Microsecond))
			switch {
			case p.Reachable == nil:
				text += "; whether it leads to us is not known: " + p.Unknown["reachable"]
			case *p.Reachable:
				text += ", and a server outside reached us there"
			default:
				text += ", but it leads nowhere: " + p.Doubt
			}
			if p.Removed != nil && !*p.Removed {
				text += "; NOT REMOVED: " + p.Fault
			}
		}
		fmt.Fprintf(w, "  %-14s %s\n", p.Protocol, text)
	}
	if d.DoubleNAT != nil && *d.DoubleNAT {
		fmt.Fprintf(w, "  %-14s there is another NAT behind the router\n", "note")
	}
}

func yesNo(b *bool) string {
	switch {
	case b == nil:
		return ""
	case *b:
		return "yes"
	}
	return "no"
}

// natMeaning says what the findings mean for somebody who wants to be reached.
func natMeaning(f *nat.Findings) []string {
	lines := []string{}
	if f.UDPBlocked != nil && *f.UDPBlocked {
		return append(lines, "Nothing comes back over UDP: no other node can be reached, directly or by way of a server.")
	}
	if v := f.IPv4; v != nil && v.Reflexive != nil {
		m, l := v.Report.Mapping, v.Report.Filtering
		switch {
		case m == nat.Unknown || l == nat.Unknown:
			lines = append(lines, "Who can reach this host cannot be told: see what is not known above.")
		case m == nat.NoNAT && l == nat.EndpointIndependent:
			lines = append(lines, "Everybody reaches this host directly.")
		case l == nat.EndpointIndependent:
			lines = append(lines, "Everybody who is told our outside address reaches this host while it talks to some server.")
		case m == nat.NoNAT || m == nat.EndpointIndependent:
			if l == nat.AddressDependent {
				lines = append(lines, "Everybody reaches this host if both send at the same time, which a mesh server arranges.")
				break
			}
			lines = append(lines, "Most reach this host if both send at the same time, which a mesh server arranges: all but those whose NAT gives another port for each destination.")
		default:
			lines = append(lines, "Without a mapped port only hosts that let in anybody, or anybody from our address, reach this one: the outside port differs for each destination. With the others traffic has to be relayed.")
		}
		if v.Hairpin != nil && !*v.Hairpin {
			lines = append(lines, "Two hosts behind this router do not reach each other at its outside address, only at their inside ones.")
		}
		if v.MTU != nil && *v.MTU < 1500 {
			lines = append(lines, fmt.Sprintf("Packets of more than %d bytes do not pass whole.", *v.MTU))
		}
	}
	if f.MappedPortsOK != nil && *f.MappedPortsOK {
		lines = append(lines, "The router maps ports, and that works: whoever is told the mapped port reaches this host.")
	}
	if slices.ContainsFunc(f.PortMappings, func(p nat.PortFinding) bool { return p.Reachable != nil && !*p.Reachable }) {
		lines = append(lines, "The router grants port mappings that lead nowhere; programs that believe it are not reached.")
	}
	return lines
}

// natAdvice says what would let others in.
func natAdvice(f *nat.Findings) []string {
	lines := []string{}
	v := f.IPv4
	if v == nil || v.Reflexive == nil {
		if f.UDPBlocked != nil && *f.UDPBlocked {
			lines = append(lines, "Let UDP through to the server's port, or let the server listen on another port, such as 443 or 53.")
		}
		if len(f.Unknown) > 0 && v == nil && f.IPv6 == nil {
			lines = append(lines, "Name a server outside with --server: sonde mesh server on any host with a public address is one.")
		}
		return lines
	}
	isEasy := v.Report.Filtering == nat.EndpointIndependent || v.Report.Filtering == nat.AddressDependent
	works := f.MappedPortsOK != nil && *f.MappedPortsOK
	double := f.DoubleNAT != nil && *f.DoubleNAT
	switch {
	case isEasy || works:
	case double:
		lines = append(lines, "Only the operator of the outer NAT can open a port; ask for a public address or use IPv6.")
	case v.Report.Mapping == nat.NoNAT:
		lines = append(lines, "Open a UDP port in the firewall of this host or its router.")
	default:
		lines = append(lines, "Switch UPnP, NAT-PMP or PCP on at the router, or forward a UDP port to "+v.Local.Addr().String()+" by hand.")
	}
	if f.IPv6 == nil && !isEasy && strings.Contains(f.Unknown["ipv6"], "public") {
		lines = append(lines, "IPv6 would do without NAT: ask the provider for it.")
	}
	if v.Report.Other == (netip.AddrPort{}) {
		lines = append(lines, "Ask a server with two ports, better two addresses, to find out the rest: sonde mesh server listens on two ports.")
	}
	return lines
}
