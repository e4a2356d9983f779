package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

var (
	v4 = netip.MustParseAddr("192.0.2.1")
	v6 = netip.MustParseAddr("2001:db8::1")
)

// fatal says what in a datagram kills an original peer that is asked by IPv4,
// written without the code it judges; "" if nothing does.
func fatal(d []byte) string {
	if len(d) > 1400 || len(d) < 5 {
		return fmt.Sprintf("%d bytes", len(d))
	}
	var sum uint32
	for i, c := range d[:len(d)-2] {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	sum = sum%0xffff + 0
	if got := uint32(^binary.BigEndian.Uint16(d[len(d)-2:])); got%0xffff != sum {
		return "checksum"
	}
	hasUUID, hasExt := false, false
	for b := d[1 : len(d)-2]; len(b) > 0; {
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return "field runs past the end"
		}
		v := b[2:b[1]]
		switch b[0] {
		case 0, 1, 2, 3, 8, 9, 34, 45, 65:
			if n := len(v); n != 1 && n != 2 && n != 4 && n != 8 {
				return fmt.Sprintf("uint of %d bytes", n)
			}
			if b[0] == 8 && !hasUUID {
				return "MYTS before UUID"
			}
		case 4:
			hasUUID = true
		case 32, 33, 64, 66, 67:
			if len(v) != 6 {
				return fmt.Sprintf("address of %d bytes", len(v))
			}
			if b[0] == 67 && !hasExt {
				return "INT without EXT"
			}
			hasExt = hasExt || b[0] == 64
		case 35:
			if !json.Valid(v) {
				return "META is no JSON"
			}
		case 96:
		default:
			return fmt.Sprintf("unknown type %d", b[0])
		}
		b = b[b[1]:]
	}
	if !hasUUID {
		return "no UUID"
	}
	return ""
}

func TestFatal(t *testing.T) {
	for _, name := range []string{"old-server-decoder.json", "old-client-decoder.json"} {
		var d struct {
			Cases []struct {
				Case    string
				Verdict string
				Request *recorded
				Packets []recorded
			}
		}
		load(t, name, &d)
		for _, c := range d.Cases {
			all := c.Packets
			if c.Request != nil {
				all = append(all, *c.Request)
			}
			dies := len(c.Verdict) > 17 && c.Verdict[:17] == "receive loop dies"
			for _, r := range all {
				if why := fatal(unhex(t, r.Hex)); dies && why == "" {
					t.Errorf("%s killed it, and the judge sees nothing wrong", c.Case)
				}
			}
		}
	}
}

func addrPorts() *rapid.Generator[netip.AddrPort] {
	return rapid.Custom(func(t *rapid.T) netip.AddrPort {
		port := rapid.Uint16().Draw(t, "port")
		switch rapid.IntRange(0, 3).Draw(t, "family") {
		case 0:
			return netip.AddrPort{}
		case 1:
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6"))), port)
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4"))), port)
	})
}

// TestNeverFatal: whatever it is asked for, Append makes no packet that an
// original peer dies of.
func TestNeverFatal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Packet{
			Role:     Role(rapid.IntRange(0, 3).Draw(t, "role")),
			Release:  rapid.Uint64().Draw(t, "release") >> rapid.IntRange(0, 63).Draw(t, "bits"),
			Sequence: rapid.Uint32().Draw(t, "sequence"),
			Local:    addrPorts().Draw(t, "local"),
			Seen:     addrPorts().Draw(t, "seen"),
			Echo:     rapid.Ptr(rapid.Uint64(), true).Draw(t, "echo"),
			Stamp:    rapid.Ptr(rapid.Uint64(), true).Draw(t, "stamp"),
			Shutdown: rapid.Bool().Draw(t, "shutdown"),
			Whole:    rapid.Bool().Draw(t, "whole"),
			Ext:      rapid.SliceOfN(rapid.Byte(), 0, 1500).Draw(t, "ext"),
		}
		if rapid.Bool().Draw(t, "has meta") {
			p.Meta = []byte(rapid.SampledFrom([]string{"{}", "{nope", "[1,2]", ""}).Draw(t, "meta"))
		}
		for range rapid.IntRange(0, 200).Draw(t, "peers") {
			p.Peers = append(p.Peers, Listed{addrPorts().Draw(t, "outside"), addrPorts().Draw(t, "inside")})
		}
		out, err := p.Append(nil, v4)
		if err != nil {
			if len(out) != 0 {
				t.Fatalf("%d bytes with the error %v", len(out), err)
			}
			return
		}
		if why := fatal(out); why != "" {
			t.Fatalf("%s: % x", why, out)
		}
		if _, err := ParsePacket(out); err != nil {
			t.Fatal(err)
		}
	})
}
