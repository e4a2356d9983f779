package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// check parses one control message of the given name, wants its octets back and
// returns the value.
func check(t *testing.T, name string, in []byte) any {
	t.Helper()
	switch name {
	case "server-greeting":
		return roundTrip(t, in, ParseServerGreeting, ServerGreeting.AppendBinary)
	case "set-up-response":
		return roundTrip(t, in, ParseSetUpResponse, SetUpResponse.AppendBinary)
	case "server-start":
		return roundTrip(t, in, ParseServerStart, ServerStart.AppendBinary)
	case "request-tw-session":
		return roundTrip(t, in, ParseRequestSession, RequestSession.AppendBinary)
	case "accept-session":
		return roundTrip(t, in, ParseAcceptSession, AcceptSession.AppendBinary)
	case "start-sessions":
		return roundTrip(t, in, ParseStartSessions, StartSessions.AppendBinary)
	case "start-ack":
		return roundTrip(t, in, ParseStartAck, StartAck.AppendBinary)
	case "stop-sessions":
		return roundTrip(t, in, ParseStopSessions, StopSessions.AppendBinary)
	}
	t.Fatalf("no message is called %q", name)
	return nil
}

// fields are the decoded values of a message as the recordings give them.
func fields(v any) map[string]string {
	n := func(v any) string { return fmt.Sprint(v) }
	x := func(v any) string { return fmt.Sprintf("%x", v) }
	ts := func(v Timestamp) string { return fmt.Sprintf("%016x", uint64(v)) }
	switch m := v.(type) {
	case ServerGreeting:
		return map[string]string{"modes": n(uint32(m.Modes)), "challenge": x(m.Challenge), "salt": x(m.Salt), "count": n(m.Count)}
	case SetUpResponse:
		return map[string]string{"mode": n(uint32(m.Mode)), "key_id": m.KeyID, "token": x(m.Token), "client_iv": x(m.ClientIV)}
	case ServerStart:
		return map[string]string{"accept": n(uint8(m.Accept)), "server_iv": x(m.ServerIV), "start_time": ts(m.StartTime)}
	case RequestSession:
		ipvn, unset := "4", "0.0.0.0"
		if m.IPv6 {
			ipvn, unset = "6", "::"
		}
		addr := func(a netip.Addr) string {
			if !a.IsValid() {
				return unset
			}
			if a.Is6() { // recorded as digits
				return x(a.As16())
			}
			return a.String()
		}
		return map[string]string{
			"ipvn": ipvn, "sender_port": n(m.SenderPort), "receiver_port": n(m.ReceiverPort),
			"sender_address": addr(m.SenderAddr), "receiver_address": addr(m.ReceiverAddr),
			"padding_length": n(m.Padding), "start_time": ts(m.StartTime),
			"timeout": fmt.Sprintf("%016x", uint64(m.Timeout)), "type_p": fmt.Sprintf("%08x", uint32(m.TypeP)), "hmac": x(m.HMAC),
		}
	case AcceptSession:
		return map[string]string{
			"accept": n(uint8(m.Accept)), "port": n(m.Port), "sid": m.SID.String(),
			"reflected_octets": fmt.Sprintf("%04x", m.ReflectedOctets), "server_octets": fmt.Sprintf("%04x", m.ServerOctets), "hmac": x(m.HMAC),
		}
	case StartSessions:
		return map[string]string{"hmac": x(m.HMAC)}
	case StartAck:
		return map[string]string{"accept": n(uint8(m.Accept)), "hmac": x(m.HMAC)}
	case StopSessions:
		return map[string]string{"accept": n(uint8(m.Accept)), "number_of_sessions": n(m.Sessions), "hmac": x(m.HMAC)}
	}
	return nil
}

// TestRecordedControl decodes every control message of the recordings and gets
// its octets back.
func TestRecordedControl(t *testing.T) {
	control, _ := recorded(t)
	if len(control) == 0 {
		t.Fatal("no control messages")
	}
	for i, m := range control {
		t.Run(fmt.Sprintf("%s/%d-%s", m.File, i, m.Name), func(t *testing.T) {
			v := check(t, m.Name, m.plain(t))
			compared := 0
			for name, got := range fields(v) {
				want, ok := m.Fields[name]
				if !ok {
					continue
				}
				compared++
				if fmt.Sprint(want) != got {
					t.Errorf("%s = %s, recorded as %v", name, got, want)
				}
			}
			if compared == 0 {
				t.Errorf("nothing to compare in %v", m.Fields)
			}
		})
	}
}

func TestVectorControl(t *testing.T) {
	for _, m := range readVectors(t).HandshakeAuthenticated.Control {
		t.Run(m.Name, func(t *testing.T) {
			in := m.Plain
			if in == "" {
				in = m.Wire
			}
			check(t, m.Name, unhex(t, in))
		})
	}
}

// requests are valid ones. Octets: made by hand after RFC 5357, section 3.5.
var requests = []struct {
	name string
	hex  string
	want RequestSession
}{
	{"zero addresses", `
		0504 0000 00000000 00000000 4e20 4e21
		00000000000000000000000000000000 00000000000000000000000000000000 00000000000000000000000000000000
		0000001b 0000000000000000 0000000280000000 2e000000 0000 0000 00000000
		00000000000000000000000000000000`,
		RequestSession{SenderPort: 20000, ReceiverPort: 20001, Padding: 27, Timeout: IntervalOf(2500 * time.Millisecond), TypeP: TypePOf(46)}},
	{"IPv6, octets to reflect", `
		0506 0000 00000000 00000000 0001 ffff
		20010db8000000000000000000000001 20010db8000000000000000000000002 00000000000000000000000000000000
		ffffffff e800000180000000 0000000000000000 00000000 beef 0010 00000000
		000102030405060708090a0b0c0d0e0f`,
		RequestSession{IPv6: true, SenderPort: 1, ReceiverPort: 65535, SenderAddr: netip.MustParseAddr("2001:db8::1"), ReceiverAddr: netip.MustParseAddr("2001:db8::2"),
			Padding: 1<<32 - 1, StartTime: 0xe800000180000000, OctetsToReflect: 0xbeef, ReflectLen: 16,
			HMAC: HMAC{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}},
}

func TestRequestSession(t *testing.T) {
	for _, tt := range requests {
		t.Run(tt.name, func(t *testing.T) {
			got := roundTrip(t, unhex(t, tt.hex), ParseRequestSession, RequestSession.AppendBinary)
			if got != tt.want {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestRequestSessionRefuses(t *testing.T) {
	for _, tt := range []struct {
		field string
		at    int
		value byte
	}{
		{"command", 0, 1},
		{"ip version", 1, 5},
		{"conf-sender", 2, 1},
		{"conf-receiver", 3, 1},
		{"number of schedule slots", 4, 1},
		{"number of packets", 11, 1},
	} {
		in := unhex(t, requests[0].hex)
		in[tt.at] = tt.value
		_, err := ParseRequestSession(in)
		if fe, ok := errors.AsType[*FieldError](err); !ok || fe.Field != tt.field {
			t.Errorf("octet %d = %d: %v, want a bad %s", tt.at, tt.value, err, tt.field)
		}
	}
}

// What must be zero is not looked at, and a request need not have a zero SID.
func TestRequestSessionTolerates(t *testing.T) {
	in := unhex(t, requests[0].hex)
	in[1] |= 0xf0
	in[50], in[92] = 1, 1
	if got, err := ParseRequestSession(in); err != nil || got != requests[0].want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestRequestSessionWrongFamily(t *testing.T) {
	for _, r := range []RequestSession{
		{IPv6: true, SenderAddr: netip.MustParseAddr("192.0.2.1")},
		{ReceiverAddr: netip.MustParseAddr("2001:db8::1")},
	} {
		if out, err := r.AppendBinary([]byte("kept")); err == nil || string(out) != "kept" {
			t.Errorf("%+v became % x, %v", r, out, err)
		}
	}
}

func TestKeyIDTooLong(t *testing.T) {
	r := SetUpResponse{KeyID: string(make([]byte, KeyIDLen+1))}
	if out, err := r.AppendBinary([]byte("kept")); err == nil || string(out) != "kept" {
		t.Errorf("AppendBinary = % x, %v", out, err)
	}
	full := SetUpResponse{KeyID: fmt.Sprintf("%080d", 1)}
	out, err := full.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseSetUpResponse(out); err != nil || got != full {
		t.Errorf("a key id of %d octets came back as %q, %v", KeyIDLen, got.KeyID, err)
	}
}

func TestWrongCommand(t *testing.T) {
	if _, err := ParseStartSessions(make([]byte, 32)); err == nil {
		t.Error("start-sessions without its command was read")
	}
	if _, err := ParseStopSessions(make([]byte, 32)); err == nil {
		t.Error("stop-sessions without its command was read")
	}
}

func TestTypeP(t *testing.T) {
	for _, tt := range []struct {
		p    TypeP
		dscp uint8
		ok   bool
	}{{0, 0, true}, {0x2e000000, 46, true}, {0x3f000000, 63, true}, {0x40000000, 0, false}, {0x2e000001, 0, false}, {0xc0000000, 0, false}} {
		if dscp, ok := tt.p.DSCP(); dscp != tt.dscp || ok != tt.ok {
			t.Errorf("TypeP %#x: DSCP %d, %t", uint32(tt.p), dscp, ok)
		}
		if tt.ok && TypePOf(tt.dscp) != tt.p {
			t.Errorf("TypePOf(%d) = %#x", tt.dscp, uint32(TypePOf(tt.dscp)))
		}
	}
}

func TestSessionList(t *testing.T) {
	s1 := SID(unhex(t, "c0000201e800000080000000deadbeef"))
	for name, want := range map[string]Command{
		"start_n_sessions": CommandStartN, "start_n_ack": CommandStartNAck,
		"stop_n_sessions": CommandStopN, "stop_n_ack": CommandStopNAck,
	} {
		t.Run(name, func(t *testing.T) {
			got := roundTrip(t, unhex(t, readVectors(t).Individual[name]), ParseSessionList, SessionList.AppendBinary)
			if got.Command != want || got.Accept != OK || len(got.SIDs) == 0 || got.SIDs[0] != s1 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestSessionListRefuses(t *testing.T) {
	in := unhex(t, readVectors(t).Individual["start_n_sessions"])
	for _, tt := range []struct {
		at    int
		value byte
	}{{0, 6}, {0, 11}, {12, 0xff}, {14, 0x11}} {
		bad := append([]byte(nil), in...)
		bad[tt.at] = tt.value
		_, err := ParseSessionList(bad)
		if _, ok := errors.AsType[*FieldError](err); !ok {
			t.Errorf("octet %d = %#x: %v, want a FieldError", tt.at, tt.value, err)
		}
	}
	for _, n := range []int{0, MaxSIDs + 1} {
		if _, err := (SessionList{Command: CommandStartN, SIDs: make([]SID, n)}).AppendBinary(nil); err == nil {
			t.Errorf("a list of %d sessions was written", n)
		}
	}
}

// fuzzControl seeds with the recorded messages of one name and holds that a
// value that was read comes back.
func fuzzControl[T any](f *testing.F, name string, parse func([]byte) (T, error), appendTo func(T, []byte) ([]byte, error)) {
	control, _ := recorded(f)
	for _, m := range control {
		if m.Name == name {
			f.Add(m.plain(f))
		}
	}
	fuzzValue(f, parse, appendTo)
}

func fuzzValue[T any](f *testing.F, parse func([]byte) (T, error), appendTo func(T, []byte) ([]byte, error)) {
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parse(b)
		if err != nil {
			return
		}
		out, err := appendTo(v, nil)
		if err != nil {
			t.Fatalf("%+v was read but not written: %v", v, err)
		}
		if again, err := parse(out); err != nil || !reflect.DeepEqual(again, v) {
			t.Fatalf("%+v became %+v, %v", v, again, err)
		}
	})
}

func FuzzServerGreeting(f *testing.F) {
	fuzzControl(f, "server-greeting", ParseServerGreeting, ServerGreeting.AppendBinary)
}

func FuzzSetUpResponse(f *testing.F) {
	fuzzControl(f, "set-up-response", ParseSetUpResponse, SetUpResponse.AppendBinary)
}

func FuzzServerStart(f *testing.F) {
	fuzzControl(f, "server-start", ParseServerStart, ServerStart.AppendBinary)
}

func FuzzRequestSession(f *testing.F) {
	for _, r := range requests {
		f.Add(unhex(f, r.hex))
	}
	fuzzControl(f, "request-tw-session", ParseRequestSession, RequestSession.AppendBinary)
}

func FuzzAcceptSession(f *testing.F) {
	fuzzControl(f, "accept-session", ParseAcceptSession, AcceptSession.AppendBinary)
}

func FuzzStartSessions(f *testing.F) {
	fuzzControl(f, "start-sessions", ParseStartSessions, StartSessions.AppendBinary)
}

func FuzzStartAck(f *testing.F) {
	fuzzControl(f, "start-ack", ParseStartAck, StartAck.AppendBinary)
}

func FuzzStopSessions(f *testing.F) {
	fuzzControl(f, "stop-sessions", ParseStopSessions, StopSessions.AppendBinary)
}

func FuzzSessionList(f *testing.F) {
	for _, v := range readVectors(f).Individual {
		f.Add(unhex(f, v))
	}
	fuzzValue(f, ParseSessionList, SessionList.AppendBinary)
}

// FuzzMessageLen holds that a client's message is never longer than the bound.
func FuzzMessageLen(f *testing.F) {
	control, _ := recorded(f)
	for _, m := range control {
		f.Add(m.plain(f)[:BlockLen])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := MessageLen(b)
		if err == nil && (n < 2*BlockLen || n > 2*BlockLen+16*MaxSIDs || n%BlockLen != 0) {
			t.Errorf("MessageLen(% x) = %d", b, n)
		}
	})
}
