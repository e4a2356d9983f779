package wire

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestIntegers(t *testing.T) {
	for _, width := range []int{1, 2, 4, 8} {
		top := uint64(math.MaxUint64) >> (64 - 8*width)
		for _, v := range []uint64{0, 1, top / 2, top} {
			b, err := AppendUint([]byte{9}, v, width)
			if got, perr := ParseUint(b[1:]); err != nil || perr != nil || got != v || len(b) != 1+width {
				t.Errorf("uint %d in %d bytes: %d, %v, %v", v, width, got, err, perr)
			}
		}
		for _, v := range []int64{0, 1, -1, int64(top / 2), -int64(top/2) - 1} {
			b, err := AppendInt([]byte{9}, v, width)
			if got, perr := ParseInt(b[1:]); err != nil || perr != nil || got != v {
				t.Errorf("int %d in %d bytes: %d, %v, %v", v, width, got, err, perr)
			}
		}
		if width < 8 {
			if _, err := AppendUint(nil, top+1, width); err == nil {
				t.Errorf("%d fits into %d bytes", top+1, width)
			}
			if _, err := AppendInt(nil, int64(top/2)+1, width); err == nil {
				t.Errorf("%d fits into %d signed bytes", top/2+1, width)
			}
		}
	}
	for _, n := range []int{0, 3, 5, 6, 7, 9} {
		if _, err := ParseUint(make([]byte, n)); err == nil {
			t.Errorf("uint of %d bytes", n)
		}
		if _, err := ParseInt(make([]byte, n)); err == nil {
			t.Errorf("int of %d bytes", n)
		}
		if _, err := AppendUint(nil, 0, n); err == nil {
			t.Errorf("wrote a uint of %d bytes", n)
		}
		if _, err := AppendInt(nil, 0, n); err == nil {
			t.Errorf("wrote an int of %d bytes", n)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct{ at, hex string }{
		{"127.0.0.1:1111", "7f0000010457"},
		{"[2001:db8::1]:9", "20010db80000000000000000000000010009"},
	} {
		a := netip.MustParseAddrPort(tt.at)
		b, err := AppendAddress(nil, a)
		if err != nil || !bytes.Equal(b, unhex(t, tt.hex)) {
			t.Errorf("AppendAddress(%v) = % x, %v", a, b, err)
		}
		if got, err := ParseAddress(b); err != nil || got != a {
			t.Errorf("ParseAddress(% x) = %v, %v", b, got, err)
		}
		for n := range b {
			if _, err := ParseAddress(b[:n]); err == nil && n != addressLen4 {
				t.Errorf("address of %d bytes", n)
			}
		}
	}
	if _, err := AppendAddress(nil, netip.AddrPort{}); err == nil {
		t.Error("wrote no address")
	}
}

func TestTexts(t *testing.T) {
	b, err := AppendJSON(nil, map[string]any{"a": []int{1}})
	if err != nil || string(b) != `{"a":[1]}` {
		t.Errorf("AppendJSON = %s, %v", b, err)
	}
	if v, err := ParseJSON(b); err != nil || !reflect.DeepEqual(v, map[string]any{"a": []any{1.0}}) {
		t.Errorf("ParseJSON = %v, %v", v, err)
	}
	d := bson.D{{Key: "name", Value: "ä"}, {Key: "n", Value: int32(7)}}
	b, err = AppendBSON(nil, d)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseBSON(b); err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("ParseBSON(% x) = %v, %v", b, got, err)
	}
	for n := range b {
		if _, err := ParseBSON(b[:n]); err == nil {
			t.Errorf("BSON of the first %d bytes", n)
		}
	}
	long := strings.Repeat("x", 300)
	if _, err := AppendJSON(nil, long); err == nil {
		t.Error("JSON of 302 bytes")
	}
	if _, err := AppendBSON(nil, bson.D{{Key: "x", Value: long}}); err == nil {
		t.Error("BSON of over 300 bytes")
	}
	if _, err := ParseJSON([]byte("{nope")); err == nil {
		t.Error("JSON that is none")
	}
}

// Every field with every kind of value passes through a packet.
func TestFields(t *testing.T) {
	if len(fields) != 17 {
		t.Errorf("%d fields, there are 17", len(fields))
	}
	values := map[Kind][]string{
		KindUint:    {"01", "0102", "01020304", "0102030405060708"},
		KindText:    {strings.Repeat("ab", 16)},
		KindAddress: {"7f0000010457", "20010db80000000000000000000000010009"},
		KindJSON:    {"7b7d", "5b312c325d"},
	}
	for typ := range fields {
		kind, _ := typ.Kind()
		for _, v := range values[kind] {
			in := Field{typ, unhex(t, v)}
			b, err := AppendFields(nil, in)
			if err != nil {
				t.Fatalf("%v %s: %v", typ, v, err)
			}
			version, out, err := Split(b)
			if err != nil || version != 1 || len(out) != 1 || out[0].Type != typ || !bytes.Equal(out[0].Value, in.Value) {
				t.Errorf("%v %s became %v, %v", typ, v, out, err)
			}
			for n := range b {
				if _, _, err := Split(b[:n]); err == nil {
					t.Errorf("%v: first %d bytes are a packet", typ, n)
				}
			}
		}
	}
}

func TestRefused(t *testing.T) {
	list := &Packet{Role: FromServer, Release: 3, Peers: []Listed{{Outside: netip.MustParseAddrPort("[2001:db8::2]:1")}}}
	if _, err := list.Append(nil, v4); err == nil {
		t.Error("an IPv6 address goes to an IPv4 receiver")
	}
	if _, err := list.Append(nil, v6); err != nil {
		t.Error(err)
	}
	if _, err := AppendFields(nil); err == nil {
		t.Error("a packet without fields")
	}
	if _, err := AppendFields(nil, Field{CC, make([]byte, 254)}); err == nil {
		t.Error("a value of 254 bytes")
	}
	full := &Packet{Role: FromClient, Release: 3, Ext: make([]byte, MaxStream)}
	if b, err := full.Append(nil, v4); err != nil || len(b) != MaxPacket {
		t.Errorf("the largest stream makes %d bytes, %v", len(b), err)
	}
	full.Ext = append(full.Ext, 0)
	if _, err := full.Append(nil, v4); !errors.Is(err, ErrTooLong) {
		t.Errorf("one byte more: %v", err)
	}
}

// parsers reads the body of each record, tests know them all.
var parsers = map[RecordType]func([]byte) (Body, error){
	RecordHello:      func(b []byte) (Body, error) { return ParseHello(b) },
	RecordCandidates: func(b []byte) (Body, error) { return ParseCandidates(b) },
	RecordList:       func(b []byte) (Body, error) { return ParseList(b) },
	RecordPunch:      func(b []byte) (Body, error) { return ParsePunch(b) },
	RecordReport:     func(b []byte) (Body, error) { return ParseReport(b) },
	RecordTimes:      func(b []byte) (Body, error) { return ParseTimes(b) },
	RecordPath:       func(b []byte) (Body, error) { return ParsePath(b) },
	RecordRelay:      func(b []byte) (Body, error) { return ParseRelay(b) },
	RecordDialback:   func(b []byte) (Body, error) { return ParseDialback(b) },
	RecordReflect:    func(b []byte) (Body, error) { return ParseReflect(b) },
	RecordPad:        func(b []byte) (Body, error) { return Pad(b), nil },
	RecordOffer:      func(b []byte) (Body, error) { return ParseOffer(b) },
	RecordWant:       func(b []byte) (Body, error) { return ParseWant(b) },
	RecordGet:        func(b []byte) (Body, error) { return ParseGet(b) },
	RecordBlock:      func(b []byte) (Body, error) { return ParseBlock(b) },
	RecordDone:       func(b []byte) (Body, error) { return ParseDone(b) },
	RecordCancel:     func(b []byte) (Body, error) { return ParseCancel(b) },
	RecordHave:       func(b []byte) (Body, error) { return ParseHave(b) },
	RecordAsk:        func(b []byte) (Body, error) { return ParseAsk(b) },
	RecordTold:       func(b []byte) (Body, error) { return ParseTolds(b) },
	RecordText:       func(b []byte) (Body, error) { return ParseText(b) },
	RecordAuth:       func(b []byte) (Body, error) { return ParseAuth(b) },
	RecordSign:       func(b []byte) (Body, error) { return ParseSign(b) },
}

var (
	one = netip.MustParseAddrPort("192.0.2.1:23456")
	two = netip.MustParseAddrPort("[2001:db8::2]:7")
)

// bodies has each record once, and how many of its last bytes it may lack: the
// parts that go to the end of the record.
var bodies = []struct {
	body Body
	open int
}{
	{Hello{PartNode, CanBulk | HasIPv6, EndpointIndependent, AddressPortDependent, "münchen"}, 0},
	{Candidates{{CandidateHost, 9, one}, {CandidateMapped, 1, two}}, 0},
	{List{Generation: 7, Page: 1, Pages: 2, Total: 30, Entries: []Entry{
		{ID: ID{1}, Flags: EntryOld, Candidates: []Candidate{{CandidateReflexive, 2, one}}, Name: "a"},
	}}, 0},
	{List{Pages: 1, Total: 30, Delta: true, Entries: []Entry{{ID: ID{1}, Flags: EntryGone}}}, 0},
	{Punch{1 << 60, 250, ID{3}, []Candidate{{CandidatePeer, 2, one}}}, 0},
	{Report{{Peer: ID{1}, State: StateRelay, Mine: 1, Theirs: 2, Reason: ReasonBothHard, RTT: 1, Jitter: 2, Sent: 3, Lost: 4, Bytes: 5, Since: 6}}, 0},
	{Times{1, 2, 3, 4, 5}, 0},
	{Path{1, 2, PathCheck, two}, 0},
	{Path{Nonce: 1}, 0},
	{Relay{ID{9}, 2, []byte("inner")}, 5},
	{Dialback{8, FromOtherBoth, netip.AddrPort{}}, 0},
	{Reflect{one, 23456, two, 23457}, 0},
	{Pad("xyz"), 3},
	{Offer{1, Hash{2}, 3000, 1024, true, 60, "a.bin", Hash{3}}, 0},
	{Want{1, WantObject, strings.Repeat("h", 32)}, 0},
	{Get{1, 9, []Run{{0, 4}, {9, 1}}}, 0},
	{Block{1, 2, []byte("data")}, 0},
	{Done{1, DoneWrong}, 0},
	{Cancel{1, CancelBusy, "later"}, 5},
	{Have{Hash{1}, 1024, 10, false, false, []Run{{0, 2}, {4, 6}}}, 0},
	{Ask{ID{1}, ID{2}}, 0},
	{Tolds{Ask{ID{1}, ID{2}}, []Told{{ID{1}, 3, Finding{Peer: ID{2}, State: StateDirect, RTT: 7}}, {From: ID{2}}}}, 0},
	{Text{9, "good morning"}, 0},
	{Auth{1, 2, 3, [16]byte{4}}, 0},
	{Sign{[8]byte{1}, 2, [64]byte{3}}, 0},
}

func TestBodies(t *testing.T) {
	seen := map[RecordType]bool{}
	for _, tt := range bodies {
		typ := tt.body.Type()
		seen[typ] = true
		b, err := tt.body.AppendBinary([]byte("kept"))
		in, ok := bytes.CutPrefix(b, []byte("kept"))
		if err != nil || !ok {
			t.Fatalf("%T: %v", tt.body, err)
		}
		if got, err := parsers[typ](in); err != nil || !reflect.DeepEqual(got, tt.body) {
			t.Errorf("%T: % x is %+v, %v\nwant %+v", tt.body, in, got, err, tt.body)
		}
		for n := range in[:len(in)-tt.open] {
			if l, isList := tt.body.(List); isList && n == 8 && len(l.Entries) > 0 {
				continue // a list without entries
			}
			if _, err := parsers[typ](in[:n]); !errors.Is(err, io.ErrUnexpectedEOF) && typ != RecordPad {
				t.Errorf("%T: first %d bytes: %v, want unexpected EOF", tt.body, n, err)
			}
		}
		stream, err := AppendRecord(nil, tt.body)
		if err != nil {
			t.Fatal(err)
		}
		records, err := ParseRecords(stream)
		if err != nil || len(records) != 1 || records[0].Type != typ || !bytes.Equal(records[0].Value, in) {
			t.Errorf("%T: as a record: %v, %v", tt.body, records, err)
		}
	}
	for typ := range parsers {
		if !seen[typ] {
			t.Errorf("record %#x is not tested", typ)
		}
	}
}

// What a hostile peer may write into a record, and we never do.
func TestHostileBodies(t *testing.T) {
	sixty := strings.Repeat("ff", 60)
	for _, tt := range []struct {
		name string
		typ  RecordType
		hex  string
	}{
		{"hello of another version", RecordHello, "0201000000000000" + "00"},
		{"hello with a name of 64", RecordHello, "0101000000000000" + "40" + strings.Repeat("61", 64)},
		{"255 candidates", RecordCandidates, "ff" + sixty},
		{"candidate without address", RecordCandidates, "01010100"},
		{"candidate of family 5", RecordCandidates, "01010105" + sixty},
		{"page 2 of 2", RecordList, "00000001" + "0202" + "0000"},
		{"more entries than the total", RecordList, "00000001" + "0001" + "0000" + strings.Repeat("00", 21)},
		{"26 findings", RecordReport, "1a" + sixty},
		{"size 2^63", RecordOffer, strings.Repeat("00", 40) + "8000000000000000" + "0400" + "00" + "003c" + "00" + strings.Repeat("00", 32)},
		{"blocks of 0 bytes", RecordOffer, strings.Repeat("00", 40) + "0000000000000001" + "0000" + "00" + "003c" + "00" + strings.Repeat("00", 32)},
		{"65 blocks", RecordGet, strings.Repeat("00", 10) + "01" + "00000000" + "0041"},
		{"blocks beyond the last number", RecordGet, strings.Repeat("00", 10) + "01" + "ffffffff" + "0002"},
		{"three tolds", RecordTold, strings.Repeat("00", 32) + "03" + strings.Repeat("00", 3*68)},
		{"a long text", RecordText, "0000000000000001" + "03e9" + strings.Repeat("61", 1001)},
		{"65535 runs", RecordHave, strings.Repeat("00", 32) + "0400" + "ffffffff" + "00" + "ffff" + sixty},
		{"runs backwards", RecordHave, strings.Repeat("00", 32) + "0400" + "00000010" + "00" + "0002" + "0000000400000001" + "0000000000000001"},
		{"run past the end", RecordHave, strings.Repeat("00", 32) + "0400" + "00000010" + "00" + "0001" + "0000000f00000002"},
		{"relay of 1201 bytes", RecordRelay, strings.Repeat("00", 17+1201)},
		{"block of 1201 bytes", RecordBlock, strings.Repeat("00", 12) + "04b1" + strings.Repeat("00", 1201)},
	} {
		if v, err := parsers[tt.typ](unhex(t, tt.hex)); err == nil {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
}

func TestRecords(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		count     int
		ok        bool
	}{
		{"none", "", 0, true},
		{"one that may be skipped", "00ff0001aa", 0, true},
		{"one that must be known", "80ff0001aa", 0, false},
		{"skipped, then known", "00ff0001aa" + "000c0000", 1, true},
		{"past the end", "000c0002aa", 0, false},
		{"cut header", "000c00", 0, false},
	} {
		got, err := ParseRecords(unhex(t, tt.hex))
		if len(got) != tt.count || err == nil != tt.ok {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
	for _, cc := range []string{"", "SND", "SND\x02abc", "some\x01node"} {
		if streamOf([]byte(cc)) != nil {
			t.Errorf("%q is a stream", cc)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, all := range recordings(f) {
		for _, r := range all[:min(len(all), 12)] {
			f.Add(unhex(f, r.Hex))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// The fuzzer cannot guess a checksum, so it is told one.
		if len(b) > 2 && len(b) <= MaxPacket {
			sum := Checksum(b[:len(b)-2])
			b = append(b[:len(b)-2:len(b)-2], byte(sum>>8), byte(sum))
		}
		_, fields, err := Split(b)
		if err != nil {
			return
		}
		again, err := AppendFields(nil, fields...)
		if err != nil || !bytes.Equal(again[1:len(again)-2], b[1:len(b)-2]) {
			t.Fatalf("% x became % x, %v", b, again, err)
		}
		p, err := ParsePacket(b)
		if err != nil {
			return
		}
		out, err := p.Append(nil, v6)
		if err != nil {
			return // such as a list without a CLIENTLEN of one byte, or order that took too much room
		}
		if back, err := ParsePacket(out); err != nil || back.ID != p.ID || back.Whole != p.Whole || len(back.Peers) != len(p.Peers) {
			t.Fatalf("%+v became %+v, %v", p, back, err)
		}
	})
}

// FuzzField gives the value of each type of field whatever the fuzzer likes.
func FuzzField(f *testing.F) {
	for typ := range fields {
		f.Add(byte(typ), []byte{0, 0, 0, 1, 2, 3})
	}
	f.Fuzz(func(t *testing.T, typ byte, v []byte) {
		b, err := AppendFields(nil, Field{Type(typ), v})
		if err != nil {
			return
		}
		if _, got, err := Split(b); err != nil || len(got) != 1 || !bytes.Equal(got[0].Value, v) {
			t.Fatalf("%v % x: %v, %v", Type(typ), v, got, err)
		}
		for _, parse := range []func([]byte) error{
			func(b []byte) error { _, err := ParseUint(b); return err },
			func(b []byte) error { _, err := ParseInt(b); return err },
			func(b []byte) error { _, err := ParseAddress(b); return err },
			func(b []byte) error { _, err := ParseJSON(b); return err },
			func(b []byte) error { _, err := ParseBSON(b); return err },
		} {
			_ = parse(v) // must only not panic
		}
	})
}

// FuzzBody reads a stream and each of its records, and writes them again.
func FuzzBody(f *testing.F) {
	for _, tt := range bodies {
		b, err := AppendRecord(nil, tt.body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		records, err := ParseRecords(stream)
		if err != nil {
			return
		}
		for _, r := range records {
			body, err := parsers[r.Type](r.Value)
			if err != nil {
				continue
			}
			b, err := body.AppendBinary(nil)
			if err != nil {
				t.Fatalf("%T % x: %v", body, r.Value, err)
			}
			again, err := parsers[r.Type](b)
			if err != nil {
				t.Fatalf("%+v: %v", body, err)
			}
			if out, err := again.AppendBinary(nil); err != nil || !bytes.Equal(out, b) {
				t.Fatalf("%+v became %+v, %v", body, again, err)
			}
		}
	})
}

func BenchmarkParsePacket(b *testing.B) {
	in := unhex(b, recordings(b)["one-client.json"][0].Hex)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePacket(in); err != nil {
			b.Fatal(err)
		}
	}
}
