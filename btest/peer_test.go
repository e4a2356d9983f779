package btest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/transcript"
)

// A peer is the far end of a test, scripted: its handshake is that of a
// recording, byte for byte but for what must be fresh (hashes, keys, tokens,
// ports); then it behaves as the recorded program did, with live bulk at a
// given rate and true statuses each second.
type peer struct {
	rec     *transcript.Recording
	side    transcript.Side
	connect func(ctx context.Context, n int) (net.Conn, error) // dials or accepts the n-th connection
	listen  ListenPacketFunc                                   // nil means the system's network

	password string        // of the recording's user; empty means "secret"
	trusting bool          // do not check hashes and confirmations: the recorded login fails
	twin     bool          // the far end is played from the same recording, with its defects
	rate     uint64        // bit/s of what it sends, all connections together; 0 means 4 Mbit/s
	duration time.Duration // a client's test; 0 means 3s

	script        script
	tally         tally
	local, remote netip.AddrPort // of the first connection
	command       wire.Command   // as it came or was sent
	token         wire.Token
	port          uint16 // the server's, of UDP
	sockets       []net.PacketConn
	login         struct {
		challenge [challengeLen]byte
		client    *auth.Client
		server    *auth.Server
		clientKey wire.ClientKey
		serverKey wire.ServerKey
		proof     [wire.ConfirmLen]byte
	}
	heard map[place][]byte // messages that came in part
}

// run plays the peer until the test is over, or the recording when that has no
// data phase, and returns what it counted. An error is what the far end did
// wrong, such as a *transcript.MismatchError.
func (p *peer) run(ctx context.Context) (*tally, error) {
	if !p.twin {
		p.rec = withoutRepeats(p.rec, p.side)
	}
	p.script = scriptOf(p.rec, p.side)
	p.heard = map[place][]byte{}
	connect := func(ctx context.Context, n int) (net.Conn, error) {
		c, err := p.connect(ctx, n)
		if err == nil && n == 1 {
			p.local, p.remote = sock.AddrPort(c.LocalAddr()), sock.AddrPort(c.RemoteAddr())
		}
		return c, err
	}
	player := &transcript.Player{Recording: p.rec, Side: p.side, Connect: connect, Hurry: true,
		Say: p.say, Hear: p.hear, Mask: p.mask,
		Until: func(_ *transcript.Event, i int) bool { return i == p.script.bulk }}
	played, err := player.Play(ctx)
	defer func() {
		for _, s := range p.sockets {
			s.Close()
		}
	}()
	if err != nil || p.script.bulk < 0 {
		return &p.tally, err
	}
	return p.data(ctx, played.Conns)
}

func (p *peer) secret() string {
	if p.password == "" {
		return "secret"
	}
	return p.password
}

// withoutRepeats leaves out the second "go" of btest-opensource when it is the
// far end that would have to say it: a defect that nobody is to imitate.
func withoutRepeats(rec *transcript.Recording, side transcript.Side) *transcript.Recording {
	dialogs := map[int]*dialog{}
	kept := *rec
	kept.Events = nil
	for _, e := range rec.Events {
		if dialogs[e.Conn] == nil {
			dialogs[e.Conn] = &dialog{tell: func(message) {}}
		}
		d := dialogs[e.Conn]
		if again := d.repeats(&e); again && e.From != side {
			continue
		}
		if e.Kind == transcript.Data {
			d.feed(e.From, e.At, e.Data)
		}
		kept.Events = append(kept.Events, e)
	}
	return &kept
}

// repeats reports whether an event is a "go" in a place where one was said.
func (d *dialog) repeats(e *transcript.Event) bool {
	return e.Kind == transcript.Data && d.mayRepeat(e.From) && string(e.Data) == "\x01\x00\x00\x00"
}

// A place is where a message begins.
type place struct {
	conn   int
	from   transcript.Side
	offset int64
}

// A script is what a recording says about how one side behaves.
type script struct {
	messages map[place]message
	command  wire.Command
	bulk     int    // index of the first event of the data phase, -1 without one
	statuses bool   // the side says them
	cpu      bool   // with a CPU load
	size     int    // payload of its datagrams
	first    uint32 // sequence number it begins with
	mark     []byte // what its blocks begin with
	reset    bool   // it ends the test with a reset
}

// scriptOf reads how side behaves in rec.
func scriptOf(rec *transcript.Recording, side transcript.Side) script {
	s := script{messages: map[place]message{}, bulk: -1}
	dialogs := map[int]*dialog{}
	for i := range rec.Events {
		e := &rec.Events[i]
		d := dialogs[e.Conn]
		if d == nil {
			d = &dialog{tell: func(m message) { s.take(e.Conn, side, m) }}
			dialogs[e.Conn] = d
		}
		beyond := e.Kind == transcript.Data && (d.stage == stageData || d.stage == stageStatuses) && !d.repeats(e)
		if s.bulk < 0 && (e.Kind.UDP() || e.Kind == transcript.Zeros || beyond) {
			s.bulk = i
		}
		switch {
		case e.Kind == transcript.Data:
			if beyond && s.mark == nil && e.From == side && d.stage == stageData && e.At > time.Second && s.command.Direction == wire.Transmit {
				s.mark = e.Data // btest-opensource begins each block with it
			}
			d.feed(e.From, e.At, e.Data)
		case e.Kind == transcript.Datagram && e.From == side && e.Len >= wire.SequenceLen && s.size == 0:
			s.size = int(e.Len)
			s.first, _ = wire.ParseSequence(e.Data)
		case e.Kind == transcript.Reset && e.From == side:
			s.reset = true
		}
	}
	if s.size == 0 { // only fragments were seen: btest-rs, which sends what the command says
		s.size = s.command.WriteSize()
	}
	return s
}

func (s *script) take(conn int, side transcript.Side, m message) {
	switch m.kind {
	case kindStatus:
		if m.from == side {
			s.statuses = true
			s.cpu = s.cpu || m.raw[1] != 0
		}
		return
	case kindData:
		return
	case kindCommand:
		s.command, _ = wire.ParseCommand(m.raw)
	}
	s.messages[place{conn, m.from, m.offset}] = m
}

// find returns the message that an event is (a part of), and where in it.
func (s *script) find(m transcript.Message) (message, int64) {
	for at := m.Offset; at >= 0 && at > m.Offset-256; at-- {
		if found, ok := s.messages[place{m.Event.Conn, m.Event.From, at}]; ok && at+found.length > m.Offset {
			return found, m.Offset - at
		}
	}
	return message{}, 0
}

// say replaces what must be fresh.
func (p *peer) say(m transcript.Message) ([]byte, error) {
	found, at := p.script.find(m)
	live := found.raw
	var err error
	switch found.kind {
	case kindCommand:
		p.command, _ = wire.ParseCommand(found.raw) // one recording has a bad one
	case kindJoin:
		live = p.token.AppendJoin(nil)
	case kindChallenge:
		p.login.challenge = [challengeLen]byte(found.raw)
	case kindReply:
		if r, _ := wire.ParseReply(found.raw); !r.Token.IsZero() {
			p.token = r.Token
		}
	case kindResponse:
		r, _ := wire.ParseResponse(found.raw)
		r.Hash = auth.MD5(p.secret(), p.login.challenge)
		live, err = r.AppendBinary(nil)
	case kindClientKey, kindServerKey, kindProof:
		live, err = p.sayKey(found)
	case kindPort:
		live, err = p.sayPort()
	default:
		return m.Data, nil
	}
	if err != nil {
		return nil, err
	}
	return live[at : at+int64(len(m.Data))], nil
}

// sayKey makes the messages of EC-SRP5.
func (p *peer) sayKey(found message) (live []byte, err error) {
	l := &p.login
	switch {
	case found.kind == kindClientKey:
		k, _ := wire.ParseClientKey(found.raw[1:])
		if l.client, err = auth.NewClient(k.Name, p.secret(), rand.Reader); err == nil {
			live, err = l.client.Key().AppendBinary(nil)
		}
	case found.kind == kindServerKey:
		recorded, _ := wire.ParseServerKey(found.raw[1:])
		record := auth.NewRecord(l.clientKey.Name, p.secret(), recorded.Salt)
		if l.server, err = auth.NewServer(record, true, rand.Reader); err == nil {
			if l.serverKey, err = l.server.Key(l.clientKey); err == nil {
				live, err = l.serverKey.AppendBinary(nil)
			}
		}
	case found.from == transcript.Client:
		l.proof, err = l.client.Confirm(l.serverKey)
		live = l.proof[:]
	default:
		live = l.proof[:]
	}
	return wire.AppendFrame(nil, live), err
}

// sayPort opens the server's UDP port: the recorded one if it is free.
func (p *peer) sayPort() ([]byte, error) {
	c, err := p.openSocket(wire.FirstUDP)
	if err != nil {
		c, err = p.openSocket(0)
	}
	if err != nil {
		return nil, err
	}
	p.port = sock.AddrPort(c.LocalAddr()).Port()
	return wire.AppendPort(nil, p.port), nil
}

// openSocket opens a UDP port on the address of the control connection.
func (p *peer) openSocket(port uint16) (net.PacketConn, error) {
	listen := p.listen
	if listen == nil {
		listen = new(net.ListenConfig).ListenPacket
	}
	c, err := listen(context.Background(), "udp", netip.AddrPortFrom(p.local.Addr(), port).String())
	if err == nil {
		p.sockets = append(p.sockets, c)
	}
	return c, err
}

// mask says what is compared of what the far end says: not what is random, nor
// what each client asks for in its own way.
func (p *peer) mask(m transcript.Message) []byte {
	found, at := p.script.find(m)
	mask := make([]byte, found.length)
	compare := func(offsets ...int) {
		for _, i := range offsets {
			mask[i] = 0xff
		}
	}
	switch found.kind {
	case kindCommand:
		compare(0, 1, 3) // transport, direction, connections
	case kindJoin:
		compare(2)
	case kindReply:
		compare(0, 3)
		if r, _ := wire.ParseReply(found.raw); r.Token.IsZero() {
			compare(1, 2)
		}
	case kindResponse:
		for i := 16; i < wire.ResponseLen; i++ {
			compare(i)
		}
	case kindClientKey:
		for i := range len(found.raw) - wire.KeyLen - 1 {
			compare(i)
		}
	case kindServerKey, kindProof:
		compare(0)
	case kindChallenge, kindPort:
	default:
		return nil
	}
	return mask[at : at+int64(len(m.Data))]
}

// hear takes what the far end said in place of a recorded message.
func (p *peer) hear(m transcript.Message) error {
	found, _ := p.script.find(m)
	where := place{m.Event.Conn, m.Event.From, found.offset}
	p.heard[where] = append(p.heard[where], m.Data...)
	b := p.heard[where]
	if int64(len(b)) < found.length {
		return nil
	}
	var err error
	l := &p.login
	switch found.kind {
	case kindCommand:
		p.command, err = wire.ParseCommand(b)
	case kindJoin:
		if t, _ := wire.ParseJoin(b); t != p.token {
			err = fmt.Errorf("joins with token %s, want %s", tokenHex(t), tokenHex(p.token))
		}
	case kindReply:
		r, _ := wire.ParseReply(b)
		if !r.Token.IsZero() {
			p.token = r.Token
		}
	case kindChallenge:
		l.challenge = [challengeLen]byte(b)
	case kindResponse:
		if r, _ := wire.ParseResponse(b); !p.trusting && r.Hash != auth.MD5(p.secret(), l.challenge) {
			err = fmt.Errorf("wrong hash %x", r.Hash)
		}
	case kindPort:
		p.port, err = wire.ParsePort(b)
	case kindClientKey, kindServerKey, kindProof:
		err = p.hearKey(found, b[1:])
	}
	return err
}

// hearKey takes the messages of EC-SRP5.
func (p *peer) hearKey(found message, b []byte) (err error) {
	l := &p.login
	switch {
	case found.kind == kindClientKey:
		l.clientKey, err = wire.ParseClientKey(b)
	case found.kind == kindServerKey:
		l.serverKey, err = wire.ParseServerKey(b)
	case found.from == transcript.Server:
		err = l.client.Verify([wire.ConfirmLen]byte(b))
	default:
		var ok bool
		if l.proof, ok = l.server.Check([wire.ConfirmLen]byte(b)); !ok && !p.trusting {
			err = fmt.Errorf("wrong confirmation %x", b)
		}
	}
	return err
}
