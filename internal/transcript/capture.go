//go:build !nano

package transcript

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/gopacket/gopacket/reassembly"
)

// Bounds of what reading a capture keeps in memory, besides the Recording.
const (
	maxPages     = 4096  // of 1900 bytes, of TCP segments that came too early, in all
	maxConnPages = 512   // and for one connection
	maxCaptured  = 16384 // TCP connections
	maxNotes     = 20
	flushEvery   = 4096            // packets between two looks for idle connections
	idle         = 2 * time.Minute // after which a connection is forgotten
)

// ReadCapture makes a recording of a capture, pcap or pcapng, of Ethernet,
// Linux cooked, loopback or raw IP. TCP is put into order; IP fragments are
// counted, and of a fragmented datagram the first one stands for it.
//
// server is the well-known port of the protocol: only TCP connections to it
// are kept, and UDP between hosts that have one. With 0 everything is kept and
// the side that connected, or has the higher port, is the client. Only ports
// are kept of addresses, so that a recording may be passed on.
func ReadCapture(r io.Reader, server uint16) (*Recording, error) {
	in := bufio.NewReader(r)
	source, err := openCapture(in)
	if err != nil {
		return nil, fmt.Errorf("transcript: capture: %w", err)
	}
	c := &capture{server: server, servers: map[netip.Addr]bool{}}
	c.assembler = reassembly.NewAssembler(reassembly.NewStreamPool(c))
	c.assembler.MaxBufferedPagesTotal = maxPages
	c.assembler.MaxBufferedPagesPerConnection = maxConnPages
	n := 0
	for {
		data, info, err := source.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if n == 0 {
				return nil, fmt.Errorf("transcript: capture: packet 1: %w", err)
			}
			c.remark("the capture ends badly after packet %d: %v", n, err)
			break
		}
		n++
		c.packet(data, info, source.linkType(info))
		if n%flushEvery == 0 {
			c.assembler.FlushCloseOlderThan(info.Timestamp.Add(-idle))
		}
	}
	c.assembler.FlushAll()
	return c.recording(n)
}

// A packetSource is a capture file.
type packetSource interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	linkType(gopacket.CaptureInfo) layers.LinkType
}

type pcapSource struct{ *pcapgo.Reader }

func (s pcapSource) linkType(gopacket.CaptureInfo) layers.LinkType { return s.LinkType() }

// An ngSource has several interfaces, each with its link type.
type ngSource struct{ *pcapgo.NgReader }

func (s ngSource) linkType(info gopacket.CaptureInfo) layers.LinkType {
	if i, err := s.Interface(info.InterfaceIndex); err == nil {
		return i.LinkType
	}
	return s.LinkType()
}

func openCapture(in *bufio.Reader) (packetSource, error) {
	front, err := in.Peek(4)
	if err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	if !isCapture(front) {
		return nil, fmt.Errorf("begins with % x: neither pcap nor pcapng", front)
	}
	if front[0] == 0x0a {
		ng, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, fmt.Errorf("pcapng: %w", err)
		}
		return ngSource{ng}, nil
	}
	r, err := pcapgo.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("pcap: %w", err)
	}
	return pcapSource{r}, nil
}

// A capture is being read: it sorts packets, and makes the streams that the
// assembler fills.
type capture struct {
	Condenser
	server    uint16
	servers   map[netip.Addr]bool // hosts that took a connection
	assembler *reassembly.Assembler
	made      int // streams, with those that never said anything
	conns     int // numbers given to connections
	notes     []string
	unknown   map[string]int // packets that could not be read, by why
	cut       int64          // bytes of TCP that the capture's snap length cut off
}

// remark adds a note to the recording, at most a few.
func (c *capture) remark(format string, args ...any) {
	if len(c.notes) < maxNotes {
		c.notes = append(c.notes, fmt.Sprintf(format, args...))
	}
}

// recording is what n packets made.
func (c *capture) recording(n int) (*Recording, error) {
	events := c.Events()
	if len(events) == 0 {
		err := fmt.Errorf("transcript: capture: nothing in %d packets", n)
		if c.server != 0 {
			err = fmt.Errorf("transcript: capture: no connection to TCP port %d in %d packets", c.server, n)
		}
		for _, why := range slices.Sorted(maps.Keys(c.unknown)) {
			err = fmt.Errorf("%w; %d left out: %s", err, c.unknown[why], why)
		}
		return nil, err
	}
	if c.cut > 0 {
		c.remark("the capture cut packets: %d bytes of TCP data that were not captured are taken as zeros", c.cut)
	}
	for _, why := range slices.Sorted(maps.Keys(c.unknown)) {
		c.remark("%d packets left out: %s", c.unknown[why], why)
	}
	return &Recording{Description: "from a capture", Notes: c.notes, Events: events}, nil
}

// leaveOut counts a packet that cannot be read.
func (c *capture) leaveOut(why string) {
	if c.unknown == nil {
		c.unknown = map[string]int{}
	}
	if len(c.unknown) < 8 || c.unknown[why] > 0 {
		c.unknown[why]++
	}
}

// packet takes one packet in.
func (c *capture) packet(data []byte, info gopacket.CaptureInfo, link layers.LinkType) {
	p := gopacket.NewPacket(data, link, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	network := p.NetworkLayer()
	if network == nil {
		if fail := p.ErrorLayer(); fail != nil {
			c.leaveOut(fmt.Sprintf("link type %v: %v", link, fail.Error()))
		}
		return
	}
	from, to, ok := hosts(network)
	if !ok {
		return
	}
	switch layer := p.LayerClass(deciding).(type) {
	case *layers.TCP:
		c.tcp(network, layer, info)
	case *layers.UDP:
		c.udp(netip.AddrPortFrom(from, uint16(layer.SrcPort)), netip.AddrPortFrom(to, uint16(layer.DstPort)),
			layer.Payload, int(layer.Length)-udpHeader, info.Timestamp)
	case *layers.ICMPv4:
		if layer.TypeCode == portUnreachable4 && c.knows(from, to) {
			c.Unreachable(info.Timestamp)
		}
	case *layers.ICMPv6:
		if layer.TypeCode == portUnreachable6 && c.knows(from, to) {
			c.Unreachable(info.Timestamp)
		}
	case *layers.IPv6Fragment:
		c.fragment(layer.NextHeader, layer.FragmentOffset == 0, layer.Payload, from, to, info.Timestamp)
	case *gopacket.Fragment:
		if ip, ok := network.(*layers.IPv4); ok {
			c.fragment(ip.Protocol, ip.FragOffset == 0, ip.Payload, from, to, info.Timestamp)
		}
	}
}

// deciding are the layers that decide what becomes of a packet: the first of
// them counts, and what lies deeper is not looked at.
var deciding = gopacket.NewLayerClass([]gopacket.LayerType{layers.LayerTypeTCP, layers.LayerTypeUDP,
	layers.LayerTypeICMPv4, layers.LayerTypeICMPv6, layers.LayerTypeIPv6Fragment, gopacket.LayerTypeFragment})

var (
	portUnreachable4 = layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodePort)
	portUnreachable6 = layers.CreateICMPv6TypeCode(layers.ICMPv6TypeDestinationUnreachable, layers.ICMPv6CodePortUnreachable)
)

const udpHeader = 8

// hosts returns the addresses of an IP header.
func hosts(l gopacket.NetworkLayer) (from, to netip.Addr, ok bool) {
	src, dst := l.NetworkFlow().Endpoints()
	from, ok1 := netip.AddrFromSlice(src.Raw())
	to, ok2 := netip.AddrFromSlice(dst.Raw())
	return from, to, ok1 && ok2
}

// fragment counts a fragment; the first of a datagram stands for it.
func (c *capture) fragment(protocol layers.IPProtocol, first bool, payload []byte, from, to netip.Addr, at time.Time) {
	if protocol != layers.IPProtocolUDP || !c.knows(from, to) {
		return
	}
	c.Fragment(at)
	if !first || len(payload) < udpHeader {
		return
	}
	c.udp(netip.AddrPortFrom(from, binary.BigEndian.Uint16(payload)), netip.AddrPortFrom(to, binary.BigEndian.Uint16(payload[2:])),
		payload[udpHeader:], int(binary.BigEndian.Uint16(payload[4:]))-udpHeader, at)
}

// knows reports whether one of two hosts took a connection, so that what they
// send each other belongs to the recording.
func (c *capture) knows(a, b netip.Addr) bool {
	return c.server == 0 || c.servers[a] || c.servers[b]
}

// udp takes a datagram in.
func (c *capture) udp(src, dst netip.AddrPort, payload []byte, size int, at time.Time) {
	if !c.knows(src.Addr(), dst.Addr()) {
		return
	}
	side := Server
	if c.servers[src.Addr()] == c.servers[dst.Addr()] { // one host, or two strangers
		if src.Port() > dst.Port() {
			side = Client
		}
	} else if c.servers[dst.Addr()] {
		side = Client
	}
	c.UDP(at, side, src.Port(), dst.Port(), payload, min(max(0, size), maxDatagram))
}
