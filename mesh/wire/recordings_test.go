package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A recorded is one packet of a recording of the original program.
type recorded struct {
	From, To string
	Hex      string
	TLVs     []struct {
		Type  uint8
		Name  string
		Len   int
		Value json.RawMessage
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func load(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// exchanges are the recordings of original clients with an original server.
var exchanges = []string{"one-client.json", "two-clients-same-address.json", "two-clients-expiry.json", "three-clients-nat.json"}

func recordings(t testing.TB) map[string][]recorded {
	all := map[string][]recorded{}
	for _, name := range exchanges {
		var file struct{ Packets []recorded }
		load(t, name, &file)
		if len(file.Packets) == 0 {
			t.Fatalf("%s has no packets", name)
		}
		all[name] = file.Packets
	}
	return all
}

// TestRecordings: every packet of the original is read as the recording says,
// and written again to the same bytes.
func TestRecordings(t *testing.T) {
	for name, packets := range recordings(t) {
		for i, r := range packets {
			datagram := unhex(t, r.Hex)
			_, fields, err := Split(datagram)
			if err != nil {
				t.Fatalf("%s: packet %d: %v", name, i, err)
			}
			for j, f := range fields {
				if want := r.TLVs[j]; uint8(f.Type) != want.Type || f.Type.String() != want.Name || len(f.Value)+2 != want.Len {
					t.Errorf("%s: packet %d: field %d is %v of %d bytes, want %s of %d", name, i, j, f.Type, len(f.Value), want.Name, want.Len)
				}
			}
			p, err := ParsePacket(datagram)
			if err != nil {
				t.Fatalf("%s: packet %d: %v", name, i, err)
			}
			again, err := p.Append([]byte("kept"), v4)
			if rest, ok := bytes.CutPrefix(again, []byte("kept")); err != nil || !ok || !bytes.Equal(rest, datagram) {
				t.Errorf("%s: packet %d became % x, %v\nwant % x", name, i, again, err, datagram)
			}
		}
	}
}

func TestChecksumVectors(t *testing.T) {
	var file struct {
		Vectors []struct {
			Covered  string `json:"covered_hex"`
			Checksum string
			Packet   string `json:"packet_hex"`
		}
	}
	load(t, "checksum-vectors.json", &file)
	if len(file.Vectors) != 5 {
		t.Fatalf("%d vectors", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		covered := unhex(t, v.Covered)
		sum := Checksum(covered)
		if got := fmt.Sprintf("%04x", sum); got != v.Checksum {
			t.Errorf("Checksum(%s) = %s, want %s", v.Covered, got, v.Checksum)
		}
		packet := unhex(t, v.Packet)
		if len(packet) < MinPacket {
			continue // the vector 01 is no packet
		}
		if _, err := verify(packet); err != nil {
			t.Errorf("verify(%s): %v", v.Packet, err)
		}
	}
}

// careful are the crafted datagrams of the recordings of decoders that a
// careful peer takes. All others it drops: those that killed an original peer
// or removed a sender, and three that the original takes by chance: a UUID of
// another size names nobody, and one IPv6 address decodes to rubbish there.
var careful = map[string]bool{
	"baseline registration": true, "no META": true, "version byte 2": true,
	"CC (96) with 16 opaque bytes": true, "CC (96) before everything": true, "CC (96) with 253 value bytes": true,
	"CC (96) empty": true, "two CC TLVs": true, "PROTOVER (0)": true, "INTADDR (33) v4": true, "UPNP (34)": true,
	"INTADDR (33) v6 18 bytes, ::1": true, "INTADDR (33) v6 18 bytes, 2001:db8::1": true,
	"uint of 2 bytes (CLIENTVER=515)": true, "uint of 8 bytes SEQUENCE": true, "MYTS of 4 bytes": true,
	"META JSON array": true, "YOURTS only, no MYTS": true, "odd-length body": true, "even-length body": true,
	// Well-formed, so it is the server who decides.
	"no PTPADDR": true, "SHUTDOWN from unknown": true, "SHUTDOWN value 0": true,

	"list with one EXT": true, "EXT then INT: INT replaces it": true, "CLIENTLEN larger than entries": true,
	"entries without CLIENTLEN": true, "two packets each with its own part and own CLIENTLEN": true,
	"two packets, total in both CLIENTLEN": true, "CC in a list": true, "CC between EXT and INT": true,
	"PROTOVER in a list": true, "SERVERVER 3": true, "UUID different from the client": true, "no MYTS": true,
	"IPv6 EXT 2001:db8::1": true, "IPv6 EXT 2001:db8::1:2:3:4": true, "list containing the client itself": true,
}

// TestDecoderCases: what killed an original peer is dropped here, or means no
// harm.
func TestDecoderCases(t *testing.T) {
	for file, want := range map[string]int{"old-server-decoder.json": 40, "old-client-decoder.json": 19} {
		var d struct {
			Cases []struct {
				Case    string
				Verdict string
				Request *recorded
				Packets []recorded
			}
		}
		load(t, file, &d)
		if len(d.Cases) != want {
			t.Fatalf("%s: %d cases, want %d", file, len(d.Cases), want)
		}
		for _, c := range d.Cases {
			all := c.Packets
			if c.Request != nil {
				all = append(all, *c.Request)
			}
			for _, r := range all {
				_, err := ParsePacket(unhex(t, r.Hex))
				if accepted := err == nil; accepted != careful[c.Case] {
					t.Errorf("%s: %s: %v; the original: %s", file, c.Case, err, c.Verdict)
				}
			}
		}
	}
}
