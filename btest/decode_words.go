package btest

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/transcript"
)

// A kind is what a message is.
type kind uint8

const (
	kindUnknown kind = iota // nothing that the protocol knows
	kindHello
	kindCommand
	kindJoin
	kindReply
	kindChallenge
	kindResponse
	kindClientKey
	kindServerKey
	kindProof
	kindText // of a server, in the place of a frame
	kindPort
	kindStatus
	kindData // bulk
)

// A message is one thing that an end of a test said, in words.
type message struct {
	kind      kind
	from      transcript.Side
	at, until time.Duration // until is 0 but for bulk
	offset    int64         // of its first byte in all that from said on the connection; not set for what lies in data
	length    int64         // bytes
	raw       []byte        // them, but for bulk
	secret    [2]int        // the part of raw that helps to find a password; empty if equal
	name      string        // such as "command"
	text      string        // what it means
	fields    []wireField
}

// A wireField is one field of a message.
type wireField struct {
	name, value string
	meaning     string // may be empty
	secret      bool
}

func (m *message) field(name, value, meaning string) {
	m.fields = append(m.fields, wireField{name: name, value: value, meaning: meaning})
}

// secretField adds a field that is only shown when secrets are asked for; it
// lies in raw from one offset to another.
func (m *message) secretField(name string, from, to int) {
	m.fields = append(m.fields, wireField{name: name, value: hexOf(m.raw[from:to]), secret: true})
	m.secret = [2]int{from, to}
}

const hidden = "(hidden)"

// value is what is shown of f.
func (f wireField) shown(secrets bool) string {
	if f.secret && !secrets {
		return hidden
	}
	return f.value
}

// line is m as one line.
func (m *message) line(secrets bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", m.name, m.text)
	sep := ": "
	if m.text == "" {
		sep = ""
	}
	for _, f := range m.fields {
		fmt.Fprintf(&b, "%s%s %s", sep, f.name, f.shown(secrets))
		if f.meaning != "" {
			fmt.Fprintf(&b, " (%s)", f.meaning)
		}
		sep = ", "
	}
	if m.kind == kindUnknown && len(m.raw) > 0 {
		fmt.Fprintf(&b, ": %s", m.hex(secrets))
	}
	return b.String()
}

// hex is the bytes of m in hexadecimal, secrets as "..".
func (m *message) hex(secrets bool) string {
	const most = 64
	var b strings.Builder
	for i, v := range m.raw[:min(len(m.raw), most)] {
		if i > 0 {
			b.WriteByte(' ')
		}
		if !secrets && i >= m.secret[0] && i < m.secret[1] {
			b.WriteString("..")
			continue
		}
		fmt.Fprintf(&b, "%02x", v)
	}
	if len(m.raw) > most {
		fmt.Fprintf(&b, " and %d more", len(m.raw)-most)
	}
	return b.String()
}

func hexOf(b []byte) string { return fmt.Sprintf("%x", b) }

// describeHello says whether a server greets as one of the protocol.
func describeHello(m *message) bool {
	m.kind, m.name = kindHello, "hello"
	if [wire.HelloLen]byte(m.raw) != wire.Hello {
		m.kind, m.text = kindUnknown, "this is no bandwidth test server"
		return false
	}
	m.text = "a bandwidth test server greets"
	return true
}

// describeCommand names every field of the client's order. The words in
// brackets are RouterOS's.
func describeCommand(m *message) (wire.Command, bool) {
	m.kind, m.name = kindCommand, "command"
	c, err := wire.ParseCommand(m.raw)
	if err != nil {
		m.text = "not one that a server can take: " + err.Error()
		m.field("bytes", hexOf(m.raw), "")
		return c, false
	}
	m.text = "the client orders a test"
	transport, size := "UDP", "bytes of a packet of the server with its IP and UDP headers (remote-udp-tx-size)"
	if c.Transport == wire.TCP {
		transport, size = "TCP", "bytes of one write of the server"
	}
	m.field("transport", fmt.Sprintf("%02x", m.raw[0]), transport)
	m.field("direction", fmt.Sprintf("%02x", m.raw[1]), directionWords(c.Direction))
	pattern := "random (random-data=yes; btest-opensource and btest-rs say so too, and send zeros)"
	if c.Zeros {
		pattern = "zeros (random-data=no)"
	}
	m.field("data", fmt.Sprintf("%02x", m.raw[2]), pattern)
	m.field("connections", strconv.Itoa(int(c.Streams)), connectionWords(c))
	if c.Size == 0 {
		size = "left to the server, which uses " + strconv.Itoa(c.WriteSize())
	}
	m.field("size", strconv.Itoa(int(c.Size)), size)
	m.field("client buffer", strconv.Itoa(int(c.Buffer)), "meaning not confirmed")
	m.field("server rate", strconv.FormatUint(uint64(c.ServerRate), 10), "what the server may send: "+rateWords(c.ServerRate)+" (remote-tx-speed)")
	m.field("client rate", strconv.FormatUint(uint64(c.ClientRate), 10), "what the client will send: "+rateWords(c.ClientRate)+" (local-tx-speed)")
	return c, true
}

func directionWords(d wire.Direction) string {
	switch d {
	case wire.Receive:
		return "transmit, as the client sees it: the server receives"
	case wire.Transmit:
		return "receive, as the client sees it: the server sends"
	}
	return "both"
}

func connectionWords(c wire.Command) string {
	switch {
	case c.Streams == 0:
		return "one"
	case c.Transport == wire.UDP:
		return "UDP ports of the client, all to one port of the server"
	}
	return "TCP connections in all, this one included"
}

func rateWords(r uint32) string {
	switch r {
	case 0:
		return "no limit"
	case math.MaxUint32:
		return "the highest that the command can carry"
	}
	return megabits(uint64(r))
}

// megabits is a rate in bit/s for a person.
func megabits(bps uint64) string { return fmt.Sprintf("%.2f Mbit/s", float64(bps)/1e6) }

// describeJoin tells of a connection that joins a test, and which.
func describeJoin(m *message) wire.Token {
	t, _ := wire.ParseJoin(m.raw) // it has its length, and its first byte was looked at
	m.kind, m.name, m.text = kindJoin, "join", "a further connection of a test"
	m.field("token", tokenHex(t), "of the first connection")
	if rest := m.raw[2:]; rest[0] != 2 || strings.Trim(string(rest[1:]), "\x00") != "" {
		m.field("rest", hexOf(rest), "02 and zeros in all known recordings")
	}
	return t
}

func tokenHex(t wire.Token) string { return fmt.Sprintf("%02x%02x", t.Hi, t.Lo) }

// describeReply tells an answer of the server: the first one, to the command,
// or the result of a login. It is false for what is none.
func describeReply(m *message, first, joined bool) (wire.Reply, bool) {
	m.kind, m.name = kindReply, "reply"
	r, err := wire.ParseReply(m.raw)
	if err != nil {
		m.kind, m.text = kindUnknown, err.Error()
		return r, false
	}
	switch {
	case r.Verdict == wire.Go && joined:
		m.text = "joined"
	case r.Verdict == wire.Go:
		m.text = "go"
	case r.Verdict == wire.Refused && first:
		m.text = "refused"
	case r.Verdict == wire.Refused:
		m.text = "refused: the login failed"
	case r.Verdict == wire.WantMD5:
		m.text = "a login is wanted, MD5"
	case r.Verdict == wire.WantSRP5:
		m.text = "a login is wanted, EC-SRP5"
	}
	if !first && r.Verdict > wire.Go {
		m.kind, m.text = kindUnknown, m.text+", after a login"
		return r, false
	}
	if !r.Token.IsZero() {
		m.field("token", tokenHex(r.Token), "with which more connections join")
	}
	return r, true
}

// describeResponse tells a client's answer to an MD5 challenge. The hash helps
// to find the password, so it is a secret.
func describeResponse(m *message) {
	r, _ := wire.ParseResponse(m.raw) // it has its length
	m.kind, m.name, m.text = kindResponse, "login", "MD5"
	m.field("user", strconv.Quote(r.Name), "")
	m.secretField("hash", 0, len(r.Hash))
}

func describeClientKey(m *message) bool {
	k, err := wire.ParseClientKey(m.raw[1:])
	if err != nil {
		return false
	}
	m.kind, m.name, m.text = kindClientKey, "client key", "EC-SRP5, message 1"
	m.field("user", strconv.Quote(k.Name), "")
	describeKey(m, k.Key)
	return true
}

func describeServerKey(m *message) bool {
	k, err := wire.ParseServerKey(m.raw[1:])
	if err != nil {
		return false
	}
	m.kind, m.name, m.text = kindServerKey, "server key", "EC-SRP5, message 2"
	describeKey(m, k.Key)
	m.field("salt", hexOf(k.Salt[:]), "")
	return true
}

func describeKey(m *message, k wire.PublicKey) {
	m.field("public x", hexOf(k.X[:]), "")
	m.field("parity", strconv.Itoa(int(k.Parity)), "")
}

// describeProof tells a confirmation of EC-SRP5.
func describeProof(m *message) bool {
	if len(m.raw) != 1+wire.ConfirmLen {
		return false
	}
	m.kind, m.name, m.text = kindProof, "client proof", "EC-SRP5, message 3"
	if m.from == transcript.Server {
		m.name, m.text = "server proof", "EC-SRP5, message 4"
	}
	m.secretField("confirmation", 1, len(m.raw))
	return true
}

// describeText tells what came in the place of a frame: perhaps words.
func describeText(m *message) {
	words := strings.TrimSpace(strings.TrimRight(string(m.raw[1:]), "\x00"))
	if words != "" && utf8.ValidString(words) && strings.IndexFunc(words, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		m.kind, m.name, m.text = kindText, "text", fmt.Sprintf("the %v says %q", m.from, words)
		return
	}
	m.kind, m.name, m.text = kindUnknown, "unknown", "a frame that is no message of EC-SRP5"
}

// describePort tells the server's UDP port.
func describePort(m *message) {
	m.kind, m.name, m.text = kindPort, "UDP port", ""
	p := binary.BigEndian.Uint16(m.raw)
	m.field("server", strconv.Itoa(int(p)), "")
	if _, err := wire.ParsePort(m.raw); err != nil {
		m.text = "not one that leaves room for the client's"
		return
	}
	m.field("client", strconv.Itoa(int(p)+wire.ClientPort), fmt.Sprintf("%d more", wire.ClientPort))
}

// describeStatus tells a status.
func describeStatus(m *message, s wire.Status) {
	m.name = fmt.Sprintf("status %d", s.Seq)
	cpu, meaning := "not told", ""
	if s.CPU != wire.NoCPU {
		cpu = fmt.Sprintf("%d %%", s.CPU)
	}
	rate := megabits(uint64(s.Received) * 8)
	if s.Received == math.MaxUint32 {
		meaning = "or more"
	}
	m.text = fmt.Sprintf("CPU %s, received %d bytes in the last second, %s", cpu, s.Received, rate)
	if meaning != "" {
		m.text += " " + meaning
	}
}

// describeBulk tells data that was not told byte by byte.
func describeBulk(m *message, b bulk) {
	m.name, m.text = "data", fmt.Sprintf("%d zeros", b.bytes)
	if b.nonzero > 0 {
		m.text = fmt.Sprintf("%d bytes, %d of them not zero", b.bytes, b.nonzero)
	}
	if took := b.to - b.from; took >= 100*time.Millisecond {
		m.text += fmt.Sprintf(" until %.3f s, %s", b.to.Seconds(), megabits(uint64(float64(b.bytes)*8/took.Seconds())))
	}
}
