//go:build !nano

package transcript

import (
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/reassembly"
)

// at carries the time of a packet through the assembler.
type at gopacket.CaptureInfo

func (a *at) GetCaptureInfo() gopacket.CaptureInfo { return gopacket.CaptureInfo(*a) }

// tcp hands a segment to the assembler.
func (c *capture) tcp(network gopacket.NetworkLayer, t *layers.TCP, info gopacket.CaptureInfo) {
	if c.server != 0 && uint16(t.SrcPort) != c.server && uint16(t.DstPort) != c.server {
		return
	}
	if missing := segmentLen(network, t) - len(t.Payload); missing > 0 {
		// The snap length cut it: without its true length all that follows
		// would seem to be out of order.
		t.Payload = append(t.Payload[:len(t.Payload):len(t.Payload)], make([]byte, min(missing, maxDatagram))...)
		c.cut += int64(missing)
	}
	c.assembler.AssembleWithContext(network.NetworkFlow(), t, (*at)(&info))
}

// segmentLen is how many bytes of data the IP header says that a segment has.
func segmentLen(network gopacket.NetworkLayer, t *layers.TCP) int {
	header := int(t.DataOffset) * 4
	switch ip := network.(type) {
	case *layers.IPv4:
		return int(ip.Length) - int(ip.IHL)*4 - header
	case *layers.IPv6:
		if ip.NextHeader == layers.IPProtocolTCP { // with extension headers it is not worth the trouble
			return int(ip.Length) - header
		}
	}
	return 0
}

// New makes the stream of a connection; it implements reassembly.StreamFactory.
func (c *capture) New(network, transport gopacket.Flow, t *layers.TCP, _ reassembly.AssemblerContext) reassembly.Stream {
	if c.made++; c.made > maxCaptured {
		c.leaveOut(fmt.Sprintf("more than %d TCP connections", maxCaptured))
		return nil
	}
	s := &tcpStream{capture: c, clientFirst: true}
	switch {
	case t.SYN && !t.ACK:
	case t.SYN:
		s.clientFirst = false
	case c.server != 0 && t.SrcPort != t.DstPort:
		s.clientFirst = uint16(t.DstPort) == c.server
	default:
		s.clientFirst = t.SrcPort > t.DstPort
	}
	host := network.Dst()
	if !s.clientFirst {
		host = network.Src()
	}
	if a, ok := netip.AddrFromSlice(host.Raw()); ok {
		s.host = a
	}
	return s
}

// A tcpStream is a TCP connection of a capture.
type tcpStream struct {
	capture     *capture
	clientFirst bool // the first packet seen came from the client
	host        netip.Addr
	conn        int // its number; 0 until it has said something
	reset       bool
}

// side is who sends in direction d of the assembler.
func (s *tcpStream) side(d reassembly.TCPFlowDirection) Side {
	if (d == reassembly.TCPDirClientToServer) == s.clientFirst {
		return Client
	}
	return Server
}

// number gives the connection its number.
func (s *tcpStream) number() int {
	if s.conn == 0 {
		s.capture.conns++
		s.conn = s.capture.conns
		s.capture.servers[s.host] = true
	}
	return s.conn
}

// Accept sees each packet as it comes; it implements reassembly.Stream.
func (s *tcpStream) Accept(t *layers.TCP, info gopacket.CaptureInfo, d reassembly.TCPFlowDirection, next reassembly.Sequence, start *bool, _ reassembly.AssemblerContext) bool {
	if t.SYN && !t.ACK && s.conn == 0 {
		s.capture.Open(info.Timestamp, s.number(), s.side(d))
	}
	if next < 0 && !t.SYN {
		*start = true // the capture began in the middle of the connection: read from here
	}
	if t.RST && s.conn != 0 {
		s.reset = true
		s.capture.Close(info.Timestamp, s.conn, s.side(d), true)
	}
	return true
}

// ReassembledSG takes data in order; it implements reassembly.Stream.
func (s *tcpStream) ReassembledSG(sg reassembly.ScatterGather, ac reassembly.AssemblerContext) {
	d, _, end, skip := sg.Info()
	n, _ := sg.Lengths()
	when := sg.CaptureInfo(0).Timestamp
	if when.IsZero() {
		when = ac.GetCaptureInfo().Timestamp
	}
	if skip > 0 && s.conn != 0 {
		s.capture.Gap(when, s.conn, s.side(d), int64(skip))
	}
	if n > 0 {
		s.capture.TCP(when, s.number(), s.side(d), sg.Fetch(n))
	}
	if end && s.conn != 0 && !s.reset {
		s.capture.Close(ac.GetCaptureInfo().Timestamp, s.conn, s.side(d), false)
	}
}

// ReassemblyComplete lets the assembler forget the connection; it implements
// reassembly.Stream.
func (s *tcpStream) ReassemblyComplete(reassembly.AssemblerContext) bool { return true }
