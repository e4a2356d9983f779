package twamp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A Doctor lists how a far end departs from the RFCs: its control connection, if
// it has one, its replies, and what it knows of STAMP.
type Doctor struct {
	Client // whom to examine and with which key; of its Probe only DSCP and Source are used
}

// A Finding is one thing that the Doctor saw.
type Finding struct {
	Code    string // stable, such as "reply_size"
	Departs bool   // from an RFC; otherwise it is only worth knowing
	Text    string
}

// examine is one examination.
type examine struct {
	Client
	found []Finding
}

func (e *examine) note(code, format string, args ...any) {
	e.found = append(e.found, Finding{code, false, fmt.Sprintf(format, args...)})
}

func (e *examine) departs(code, format string, args ...any) {
	e.found = append(e.found, Finding{code, true, fmt.Sprintf(format, args...)})
}

// Run examines the far end. It fails only if there is nothing to examine.
func (d *Doctor) Run(ctx context.Context) ([]Finding, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	e := &examine{Client: d.Client}
	e.Padding = askedPadding
	control := e.control(ctx)
	answers := e.uncontrolled(ctx)
	if control != nil && !answers {
		return e.found, nobody(control)
	}
	if control != nil {
		e.note("no_control", "no TWAMP control: %v", control)
	}
	return e.found, nil
}

// nobody is the error of a far end that answers nothing, control what became of
// its control connection.
func nobody(control error) error {
	if name, ok := errors.AsType[*net.DNSError](control); ok {
		return &result.Error{Word: result.CodeUnreachable, Text: Protocol, Err: name, Hint: "check the name, or give an address"}
	}
	return &result.Error{
		Word: result.CodeOf(control), Text: fmt.Sprintf("%v; no reply to TWAMP Light or STAMP either", control),
		Hint: "is a reflector running there, and its port open on the way, TCP and UDP? one of STAMP that has a key answers only who has it: --key-id and --key-file",
	}
}

// control examines the control connection and a session.
func (e *examine) control(ctx context.Context) error {
	x, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer x.conn.Close()
	defer x.closePorts()
	e.greeting(x)
	if err := x.request(ctx); err != nil {
		if err = e.otherWay(ctx, err); err != nil {
			e.departs("session_refused", "a plain session is refused: %v", err)
		}
		return nil
	}
	s := x.senders[0]
	if own := s.port.localAddr().Port(); s.to.Port() != own {
		e.note("port_changed", "the server proposes UDP port %d instead of %d: a client that ignores it loses everything", s.to.Port(), own)
	}
	if err := x.start(ctx); err != nil {
		e.departs("start_refused", "%v", err)
		return nil
	}
	p := newPatient(s, "session")
	e.replies(p)
	if err := x.stop(ctx, true); err != nil {
		e.departs("stop", "%v", err)
		return nil
	}
	time.Sleep(50 * time.Millisecond)
	if _, ok := p.ask(); !ok && p.answered > 0 {
		e.departs("no_grace", "packets are not reflected after Stop-Sessions, although the session asked for %v more", e.wait())
	}
	e.badRequest(ctx)
	return nil
}

// greeting tells of the modes and the key derivation.
func (e *examine) greeting(x *exchange) {
	g := x.greeting
	e.note("modes", "modes offered: %v", g.Modes)
	if g.Modes.Features()&^wire.AllFeatures&^wire.IKEv2 != 0 {
		e.note("modes_unknown", "some of the modes offered are not assigned: %v", g.Modes)
	}
	if auth.CheckCount(g.Count, 0) != nil {
		e.departs("count", "%d key derivation rounds: not a power of two from 1024 to 32768", g.Count)
	}
	if g.Challenge == [16]byte{} || g.Salt == [16]byte{} {
		e.departs("challenge", "the challenge or the salt is all zeros, not random")
	}
}

// otherWay finds out whether the session is granted when the request names its
// addresses. It returns the error that remains.
func (e *examine) otherWay(ctx context.Context, first error) error {
	c := e.Client
	c.Explicit = true
	x, err := c.connect(ctx)
	if err != nil {
		return first
	}
	defer x.conn.Close()
	defer x.closePorts()
	if x.request(ctx) != nil {
		return first
	}
	e.departs("zero_addresses", "sessions are refused unless the request names both addresses: %v", first)
	return nil
}

// badRequest looks at how a request with a forbidden field is refused.
func (e *examine) badRequest(ctx context.Context) {
	c := e.Client
	c.ReplyTime = 2 * time.Second
	x, err := c.connect(ctx)
	if err != nil {
		return
	}
	defer x.conn.Close()
	b, err := wire.RequestSession{SenderPort: 40000, ReceiverPort: 40000, Padding: 27}.AppendBinary(nil)
	if err != nil || x.expect(ctx) != nil {
		return
	}
	b[2] = 1 // Conf-Sender
	if x.send(raw(b)) != nil {
		return
	}
	m, err := x.message(wire.AcceptSessionLen)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.departs("silent_refusal", "a request with Conf-Sender set gets no answer; Accept 3 is due")
	case err != nil:
		e.departs("silent_refusal", "a request with Conf-Sender set ends the connection; Accept 3 is due")
	case wire.Accept(m[0]) == wire.OK:
		e.departs("conf_sender", "a request with Conf-Sender set is granted")
	case wire.Accept(m[0]) != wire.Unsupported:
		e.departs("conf_sender", "a request with Conf-Sender set is refused with %v, not as unsupported", wire.Accept(m[0]))
	}
}

// A raw message is one that no type of package wire would write.
type raw []byte

// AppendBinary appends the octets.
func (r raw) AppendBinary(b []byte) ([]byte, error) { return append(b, r...), nil }

// uncontrolled examines a reflector that needs no session, in each of the ways
// to ask it. It reports whether one of them was answered.
func (e *examine) uncontrolled(ctx context.Context) bool {
	light := e.reflects(ctx, "light", &Pinger{Light: true})
	asked := Extensions{Clock: true, Location: true}
	stamp := e.reflects(ctx, "stamp", &Pinger{SSID: 0x5344, Extensions: asked})
	if e.Secret.IsZero() {
		return light || stamp
	}
	keyed := e.reflects(ctx, "stamp with the key", &Pinger{SSID: 0x5345, Extensions: asked, Key: e.Secret})
	switch {
	case keyed && !light && !stamp:
		e.note("stamp_key", "the reflector answers authenticated STAMP, and nothing without a key")
	case keyed:
		e.note("stamp_key", "the reflector answers authenticated STAMP, too")
	default:
		e.note("stamp_key", "authenticated STAMP gets no answer: the reflector has another key for it, or none")
	}
	return light || stamp || keyed
}

// reflects examines the replies to the packets of g, and reports whether there
// are any.
func (e *examine) reflects(ctx context.Context, name string, g *Pinger) bool {
	g.Addr, g.Probe, g.ListenPacket, g.Network = e.Addr, e.Probe, e.ListenPacket, strings.Replace(e.Network, "tcp", "udp", 1)
	s, err := g.open(ctx)
	if err != nil {
		return false
	}
	defer s.port.close()
	p := newPatient(s, name)
	e.replies(p)
	if p.answered > 0 && !g.Light {
		e.extensions(p)
	}
	return p.answered > 0
}

// extensions tells what the reflector knows of RFC 8972.
func (e *examine) extensions(p *patient) {
	told := &p.sender.told
	switch {
	case p.last.SSID != p.sender.ssid:
		e.note("stamp_unknown", "the SSID does not come back: the reflector speaks TWAMP Light, not STAMP")
		return
	case told.malformed > 0:
		e.departs("stamp_tlv", "STAMP extensions come back malformed")
	case told.clock == nil:
		e.note("stamp_extensions", "the reflector does not know the STAMP extensions of RFC 8972")
	default:
		e.note("stamp_extensions", "the reflector knows STAMP extensions; its clock is set by source %d, timestamps by method %d", told.clock.SyncIn, told.clock.MethodIn)
	}
	if a := told.src.Addr(); a.IsValid() && a != p.sender.port.localAddr().Addr() && !p.sender.port.localAddr().Addr().IsUnspecified() {
		e.note("translated", "our packets come there from %v: something on the way translates addresses", told.src)
	}
}
