package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/wire"
)

// A portRange is a flag value: FIRST-LAST, or one port.
type portRange btest.PortRange

// String is the range as Set takes it.
func (p *portRange) String() string {
	if *p == (portRange{}) {
		return fmt.Sprintf("%d-%d", wire.FirstUDP, wire.LastUDP)
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// Type names the kind of value in help texts.
func (p *portRange) Type() string { return "ports" }

// Set parses text.
func (p *portRange) Set(text string) error {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	r := btest.PortRange{First: uint16(a), Last: uint16(b)}
	if err1 != nil || err2 != nil || a == 0 || r.Validate() != nil {
		return fmt.Errorf("not a range of ports; give FIRST-LAST of 1 to %d, such as 2001-2100: a client's port is %d above its server's", wire.MaxUDPPort, wire.ClientPort)
	}
	*p = portRange(r)
	return nil
}
