//go:build !nano

package transcript

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// A shark turns the events of a recording into the packets of a capture.
type shark struct {
	t    testing.TB
	v6   bool
	link layers.LinkType
	out  [][]byte
	at   []time.Time
	seq  map[streamKey]uint32
}

var (
	ips4 = map[Side]net.IP{Client: {192, 0, 2, 7}, Server: {192, 0, 2, 1}}
	ips6 = map[Side]net.IP{Client: net.ParseIP("2001:db8::7"), Server: net.ParseIP("2001:db8::1")}
)

func (s *shark) packet(at time.Duration, from Side, protocol layers.IPProtocol, inner ...gopacket.SerializableLayer) {
	s.t.Helper()
	ips := ips4
	if s.v6 {
		ips = ips6
	}
	v4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: ips[from], DstIP: ips[from.Other()]}
	v6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: ips[from], DstIP: ips[from.Other()]}
	var network gopacket.SerializableLayer = v4
	ethertype := layers.EthernetTypeIPv4
	if s.v6 {
		network, ethertype = v6, layers.EthernetTypeIPv6
	}
	for _, l := range inner {
		var err error
		switch l := l.(type) {
		case *layers.TCP:
			err = l.SetNetworkLayerForChecksum(network.(gopacket.NetworkLayer))
		case *layers.UDP:
			err = l.SetNetworkLayerForChecksum(network.(gopacket.NetworkLayer))
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	all := append([]gopacket.SerializableLayer{network}, inner...)
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	switch s.link {
	case layers.LinkTypeEthernet:
		all = append([]gopacket.SerializableLayer{
			&layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypeDot1Q},
			&layers.Dot1Q{VLANIdentifier: 7, Type: ethertype}}, all...)
	case layers.LinkTypeNull:
		family := layers.ProtocolFamilyIPv4
		if s.v6 {
			family = layers.ProtocolFamilyIPv6Linux
		}
		all = append([]gopacket.SerializableLayer{&layers.Loopback{Family: family}}, all...)
	case layers.LinkTypeLinuxSLL:
		head := make([]byte, 16)
		binary.BigEndian.PutUint16(head[2:], 1)
		binary.BigEndian.PutUint16(head[4:], 6)
		copy(head[6:], mac)
		binary.BigEndian.PutUint16(head[14:], uint16(ethertype))
		all = append([]gopacket.SerializableLayer{gopacket.Payload(head)}, all...)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		s.t.Fatal(err)
	}
	s.out = append(s.out, bytes.Clone(b.Bytes()))
	s.at = append(s.at, start.Add(at))
}

func (s *shark) segment(at time.Duration, conn int, from Side, flags string, p []byte) {
	ports := map[Side]layers.TCPPort{Client: layers.TCPPort(40000 + conn), Server: 2000}
	key := streamKey{conn, from}
	if _, ok := s.seq[key]; !ok {
		s.seq[key] = 0xfffffff0 + uint32(conn) // wraps soon
	}
	t := &layers.TCP{SrcPort: ports[from], DstPort: ports[from.Other()], Seq: s.seq[key], Window: 1000,
		SYN: strings.Contains(flags, "S"), ACK: strings.Contains(flags, "A"), FIN: strings.Contains(flags, "F"), RST: strings.Contains(flags, "R")}
	s.seq[key] += uint32(len(p))
	if t.SYN || t.FIN {
		s.seq[key]++
	}
	s.packet(at, from, layers.IPProtocolTCP, t, gopacket.Payload(p))
}

func (s *shark) datagram(at time.Duration, from Side, src, dst uint16, p []byte) {
	s.packet(at, from, layers.IPProtocolUDP,
		&layers.UDP{SrcPort: layers.UDPPort(src), DstPort: layers.UDPPort(dst)}, gopacket.Payload(p))
}

// events makes the packets of r.
func (s *shark) events(r *Recording) {
	s.seq = map[streamKey]uint32{}
	for _, e := range r.Events {
		switch e.Kind {
		case Open:
			s.segment(e.At, e.Conn, Client, "S", nil)
			s.segment(e.At, e.Conn, Server, "SA", nil)
			s.segment(e.At, e.Conn, Client, "A", nil)
		case Fin:
			s.segment(e.At, e.Conn, e.From, "FA", nil)
		case Reset:
			s.segment(e.At, e.Conn, e.From, "RA", nil)
		case Data:
			s.segment(e.At, e.Conn, e.From, "A", e.Data)
		case Zeros:
			left := min(e.Len, 200_000)
			for ; left > 1460; left -= 1460 {
				s.segment(e.At, e.Conn, e.From, "A", make([]byte, 1460))
			}
			s.segment(e.At, e.Conn, e.From, "A", make([]byte, left))
		case Datagram:
			s.datagram(e.At, e.From, e.Src.Port(), e.Dst.Port(), append(e.Data, make([]byte, e.Len-int64(len(e.Data)))...))
		case Run:
			for n := range min(e.Count, 50) {
				p := make([]byte, e.Len)
				binary.BigEndian.PutUint32(p, e.First+uint32(n))
				s.datagram(e.At, e.From, e.Src.Port(), e.Dst.Port(), p)
			}
		}
	}
}

// file writes the packets as pcap or pcapng, cut at snap bytes.
func (s *shark) file(ng bool, snap int) []byte {
	var b bytes.Buffer
	var write func(gopacket.CaptureInfo, []byte) error
	finish := func() error { return nil }
	if ng {
		w, err := pcapgo.NewNgWriter(&b, s.link)
		if err != nil {
			s.t.Fatal(err)
		}
		write, finish = w.WritePacket, w.Flush
	} else {
		w := pcapgo.NewWriter(&b)
		if err := w.WriteFileHeader(uint32(snap), s.link); err != nil {
			s.t.Fatal(err)
		}
		write = w.WritePacket
	}
	for i, p := range s.out {
		n := min(len(p), snap)
		if err := write(gopacket.CaptureInfo{Timestamp: s.at[i], CaptureLength: n, Length: len(p)}, p[:n]); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := finish(); err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}

// condensed is what the traffic of r, as shark makes it, condenses to.
func condensed(r *Recording) []Event {
	short := *r
	short.Events = slices.Clone(r.Events)
	for i := range short.Events {
		e := &short.Events[i]
		switch e.Kind {
		case Zeros:
			e.Len = min(e.Len, 200_000)
		case Run:
			e.Count = min(e.Count, 50)
			e.Final = e.First + uint32(e.Count) - 1
		}
	}
	short.Events = slices.DeleteFunc(short.Events, func(e Event) bool { return e.From == 0 })
	var c Condenser
	expand(&c, &short)
	return c.Events()
}

// TestReadCapture makes captures of recordings in all ways and reads them.
func TestReadCapture(t *testing.T) {
	links := []layers.LinkType{layers.LinkTypeEthernet, layers.LinkTypeLinuxSLL, layers.LinkTypeNull, layers.LinkTypeRaw}
	for _, name := range []string{"rs-tcp-both-noauth.json", "c-server-md5-ok.json", "c-udp-both-noauth.json", "c-udp-receive-nat.json"} {
		r, _ := load(t, name)
		want := condensed(r)
		for i, link := range links {
			for _, v6 := range []bool{false, true} {
				ng := (i%2 == 0) == v6
				t.Run(fmt.Sprintf("%s/%v/v6=%v", name, link, v6), func(t *testing.T) {
					s := &shark{t: t, link: link, v6: v6}
					s.events(r)
					got, err := Read(bytes.NewReader(s.file(ng, 1<<16)), 2000)
					if err != nil {
						t.Fatal(err)
					}
					if d := cmp.Diff(want, got.Events, cmp.Comparer(sameEnds), cmp.Comparer(bytes.Equal),
						cmpopts.IgnoreFields(Event{}, "Last", "Joined")); d != "" {
						t.Errorf("(-want +got):\n%s", d)
					}
				})
			}
		}
	}
}

// TestReadCaptureDisorder: segments that come late, twice or never.
func TestReadCaptureDisorder(t *testing.T) {
	s := &shark{t: t, link: layers.LinkTypeRaw, seq: map[streamKey]uint32{}}
	s.segment(0, 1, Client, "S", nil)
	s.segment(0, 1, Server, "SA", nil)
	for n := range 8 {
		s.segment(time.Duration(n), 1, Server, "A", []byte{byte(n), 1, 2, 3})
	}
	s.segment(9, 1, Server, "FA", nil)
	p := s.out
	// 2 3 4 5 6 7 8 9 are the data; 4 comes late, 5 twice, 8 never.
	s.out = [][]byte{p[0], p[1], p[2], p[3], p[5], p[5], p[4], p[6], p[7], p[9], p[10]}
	r, err := ReadCapture(bytes.NewReader(s.file(false, 1<<16)), 2000)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	var gap int64
	for _, e := range r.Events {
		if e.Kind == Data && e.From == Server {
			got = append(got, e.Data...)
			gap += e.Len - int64(len(e.Data))
		}
	}
	want := []byte{0, 1, 2, 3, 1, 1, 2, 3, 2, 1, 2, 3, 3, 1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3, 7, 1, 2, 3}
	if !bytes.Equal(got, want) || gap != 4 {
		t.Errorf("data % x, %d bytes missing\nwant % x and 4", got, gap, want)
	}
	if last := r.Events[len(r.Events)-1]; last.Kind != Fin || last.From != Server {
		t.Errorf("last event is %v, want the server's fin", last)
	}
}

// TestReadCaptureMiddle: a capture that began after the connection.
func TestReadCaptureMiddle(t *testing.T) {
	s := &shark{t: t, link: layers.LinkTypeRaw, seq: map[streamKey]uint32{}}
	s.segment(0, 1, Server, "A", []byte{7, 0, 0, 0})
	s.segment(1, 1, Client, "A", []byte{7, 1, 0, 0})
	r, err := ReadCapture(bytes.NewReader(s.file(false, 1<<16)), 2000)
	if err != nil || len(r.Events) != 2 || r.Events[0].From != Server || r.Events[1].From != Client {
		t.Errorf("ReadCapture = %v, %v", r, err)
	}
}

// TestReadCaptureSnap: a capture of the first 80 bytes of each packet keeps
// the amounts, and says what is missing.
func TestReadCaptureSnap(t *testing.T) {
	rec, _ := load(t, "rs-tcp-both-noauth.json")
	s := &shark{t: t, link: layers.LinkTypeEthernet}
	s.events(rec)
	r, err := ReadCapture(bytes.NewReader(s.file(false, 80)), 2000)
	if err != nil {
		t.Fatal(err)
	}
	want := condensed(rec)
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "bytes of TCP data that were not captured") {
		t.Errorf("notes: %q", r.Notes)
	}
	for i := range want {
		if want[i].Len != r.Events[i].Len {
			t.Errorf("event %d is %v, want %d bytes", i, r.Events[i], want[i].Len)
		}
	}
}

// TestReadCaptureFragments: of a datagram in two fragments the first tells
// ports, length and sequence number.
func TestReadCaptureFragments(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		s := &shark{t: t, link: layers.LinkTypeRaw, v6: v6, seq: map[streamKey]uint32{}}
		s.segment(0, 1, Client, "S", nil)
		whole := make([]byte, 8+1500)
		binary.BigEndian.PutUint16(whole[0:], 2001)
		binary.BigEndian.PutUint16(whole[2:], 2257)
		binary.BigEndian.PutUint16(whole[4:], uint16(len(whole)))
		whole[11] = 9
		for _, cut := range [][2]int{{0, 1480}, {1480, len(whole)}} {
			part := gopacket.Payload(whole[cut[0]:cut[1]])
			if v6 {
				head := []byte{17, 0, byte(cut[0] >> 8), byte(cut[0]) | byte(1-cut[0]/1480), 0, 0, 0, 1}
				s.packet(1, Server, layers.IPProtocolIPv6Fragment, gopacket.Payload(head), part)
				continue
			}
			s.packet(1, Server, layers.IPProtocolUDP, part)
			ip := s.out[len(s.out)-1]
			binary.BigEndian.PutUint16(ip[6:], uint16(1-cut[0]/1480)<<13|uint16(cut[0]/8))
		}
		r, err := ReadCapture(bytes.NewReader(s.file(false, 1<<16)), 2000)
		if err != nil {
			t.Fatal(err)
		}
		want := Event{Kind: Datagram, From: Server, Src: port(2001), Dst: port(2257), Len: 1500,
			Data: []byte{0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}
		if len(r.Events) != 3 || r.Events[1].Kind != Fragments || r.Events[1].Count != 2 || !cmp.Equal(r.Events[2], want, cmp.Comparer(sameEnds)) {
			t.Errorf("v6=%v: events %v, want two fragments and %v", v6, r.Events, want)
		}
	}
}

func TestReadCaptureErrors(t *testing.T) {
	s := &shark{t: t, link: layers.LinkTypeEthernet, seq: map[streamKey]uint32{}}
	s.datagram(0, Client, 5353, 53, []byte("not ours"))
	good := s.file(false, 1<<16)
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "unexpected EOF"},
		{"text", []byte("< 01 00 00 00"), "neither pcap nor pcapng"},
		{"header cut", good[:20], "pcap: unexpected EOF"},
		{"version", append(slices.Clone(good[:4]), make([]byte, 40)...), "Unknown major version"},
		{"packet cut", good[:50], "packet 1: unexpected EOF"},
		{"nothing of ours", good, "no connection to TCP port 2000 in 1 packets"},
		{"pcapng cut", []byte{0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0}, "pcapng: unexpected EOF"},
		{"link type", bytes.Replace(good, []byte{0, 0, 1, 0, 1, 0, 0, 0}, []byte{0, 0, 1, 0, 199, 0, 0, 0}, 1), "1 left out: link type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ReadCapture(bytes.NewReader(tt.in), 2000)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ReadCapture = %v, %v\nwant an error with %q", r, err, tt.want)
			}
		})
	}
}

// FuzzReadCapture: no capture panics, and what it gives can be saved.
func FuzzReadCapture(f *testing.F) {
	rec := &Recording{Events: []Event{
		{Kind: Open, From: Client, Conn: 1},
		{Kind: Data, From: Server, Conn: 1, Len: 4, Data: []byte{1, 0, 0, 0}},
		{Kind: Zeros, From: Server, Conn: 1, Len: 100},
		{Kind: Datagram, From: Server, Src: port(2001), Dst: port(2257), Len: 8},
		{Kind: Fin, From: Client, Conn: 1},
	}}
	for _, link := range []layers.LinkType{layers.LinkTypeEthernet, layers.LinkTypeLinuxSLL, layers.LinkTypeNull, layers.LinkTypeRaw} {
		for _, ng := range []bool{false, true} {
			s := &shark{t: f, link: link, v6: ng}
			s.events(rec)
			f.Add(s.file(ng, 1<<16), uint16(2000))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, server uint16) {
		r, err := ReadCapture(bytes.NewReader(b), server)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := r.WriteJSON(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadJSON(&out); err != nil {
			t.Fatalf("the recording is not read again: %v", err)
		}
	})
}
