package btest

import (
	"bytes"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/transcript"
)

// A dialog follows what the two ends of one TCP connection say, and tells it
// message by message. Bytes may come in pieces of any size; each side's are
// held back until it is its turn. It is not safe for concurrent use.
type dialog struct {
	tell  func(message)
	tests map[wire.Token]wire.Command // tests that connections may join; shared, may be nil

	stage    stage
	command  wire.Command
	joined   bool         // a further connection of a test
	login    wire.Verdict // how the client was asked to log in; Go if it was not
	repeated bool         // a second "go" was told, or can no longer come
	client   half
	server   half
}

// A stage says whose turn it is, and what is due.
type stage uint8

const (
	stageHello stage = iota
	stageCommand
	stageReply
	stageChallenge
	stageResponse
	stageClientKey
	stageServerKey
	stageClientProof
	stageServerProof
	stageResult
	stagePort
	stageStatuses // UDP: statuses both ways
	stageData     // TCP: data with statuses between
	stageOver     // nothing more is known to follow
)

// due is what each stage waits for: who speaks, and how many bytes. 0 bytes
// means a frame.
var due = [...]struct {
	from transcript.Side
	n    int
}{
	stageHello:       {transcript.Server, wire.HelloLen},
	stageCommand:     {transcript.Client, wire.CommandLen},
	stageReply:       {transcript.Server, wire.ReplyLen},
	stageChallenge:   {transcript.Server, challengeLen},
	stageResponse:    {transcript.Client, wire.ResponseLen},
	stageClientKey:   {transcript.Client, 0},
	stageServerKey:   {transcript.Server, 0},
	stageClientProof: {transcript.Client, 0},
	stageServerProof: {transcript.Server, 0},
	stageResult:      {transcript.Server, wire.ReplyLen},
	stagePort:        {transcript.Server, wire.PortLen},
}

const challengeLen = 16

// mostPending is the most that a side may say out of turn. All of a handshake
// is less.
const mostPending = 2048

// A half is what one side of a dialog says.
type half struct {
	pending []byte // not yet told
	offset  int64  // of the first pending byte in all that the side said
	scanner wire.Scanner
	bulk    bulk
	odd     bool // something that is no status was told of already
}

func (d *dialog) half(from transcript.Side) *half {
	if from == transcript.Client {
		return &d.client
	}
	return &d.server
}

// feed takes what from said at a time on the clock of the recording.
func (d *dialog) feed(from transcript.Side, at time.Duration, b []byte) {
	h := d.half(from)
	if d.stage == stageData && len(h.pending) == 0 && !d.mayRepeat(from) {
		d.scan(from, at, at, b)
		return
	}
	h.pending = append(h.pending, b...)
	for d.step(at) {
	}
	for _, side := range []transcript.Side{transcript.Client, transcript.Server} {
		if len(d.half(side).pending) > mostPending {
			d.stage = stageOver
		}
	}
	if d.stage == stageOver {
		d.flush(transcript.Client, at)
		d.flush(transcript.Server, at)
	}
}

// step takes one message that is complete. It is false when there is none.
func (d *dialog) step(at time.Duration) bool {
	switch d.stage {
	case stageOver:
		return false
	case stageStatuses:
		return d.statuses(transcript.Client, at) || d.statuses(transcript.Server, at)
	case stageData:
		return d.beginData(at)
	case stageHello:
		if b := d.server.pending; len(b) > 0 && b[0] != wire.Hello[0] && (b[0] == 0x07 || b[0] == 0) {
			// A status, or bulk: the recording begins in the middle of a test.
			d.tell(message{kind: kindUnknown, from: transcript.Server, at: at, name: "missing", text: "the recording begins in the middle of a test"})
			d.stage = stageData
			return true
		}
	}
	turn := due[d.stage]
	h := d.half(turn.from)
	n := turn.n
	if n == 0 {
		if n = frameLen(h.pending); n == 0 {
			return false
		}
	}
	if d.stage == stagePort && d.mayRepeat(turn.from) && bytes.HasPrefix(h.pending, []byte{1, 0}) {
		n = wire.ReplyLen + wire.PortLen // 256 is no port that any server announces
	}
	if len(h.pending) < n {
		return false
	}
	d.take(turn.from, at, n)
	return true
}

// frameLen is the length of the frame at the front of b with its length byte,
// 0 when not even that is there. A refusal may come in the place of a frame:
// what begins with a zero is taken for four bytes.
func frameLen(b []byte) int {
	switch {
	case len(b) == 0:
		return 0
	case b[0] == 0:
		return wire.ReplyLen
	}
	return 1 + int(b[0])
}

// mayRepeat reports whether from may say "go" a second time: btest-opensource
// does so after each MD5 login.
func (d *dialog) mayRepeat(from transcript.Side) bool {
	return from == transcript.Server && d.login == wire.WantMD5 && !d.repeated && (d.stage == stagePort || d.stage == stageData)
}

// cut takes n bytes off a side and returns them in an empty message.
func (d *dialog) cut(from transcript.Side, at time.Duration, n int) message {
	h := d.half(from)
	m := message{from: from, at: at, offset: h.offset, length: int64(n), raw: bytes.Clone(h.pending[:n])}
	h.pending = h.pending[n:]
	h.offset += int64(n)
	return m
}

// take takes a message of n bytes, which is due, and goes to the next stage.
func (d *dialog) take(from transcript.Side, at time.Duration, n int) {
	m := d.cut(from, at, n)
	switch d.stage {
	case stageHello:
		d.stage = stageCommand
		if !describeHello(&m) {
			d.stage = stageOver
		}
	case stageCommand:
		d.takeCommand(&m)
	case stageReply, stageResult:
		d.takeReply(&m)
	case stageChallenge:
		m.kind, m.name, m.text = kindChallenge, "challenge", "to be hashed with the password"
		m.field("bytes", hexOf(m.raw), "")
		d.stage = stageResponse
	case stageResponse:
		describeResponse(&m)
		d.stage = stageResult
	case stageClientKey, stageServerKey, stageClientProof, stageServerProof:
		d.takeFrame(&m)
	case stagePort:
		d.takePort(&m)
	}
	d.tell(m)
}

func (d *dialog) takeCommand(m *message) {
	if wire.IsJoin(m.raw) {
		d.joined = true
		d.command = d.tests[describeJoin(m)]
		d.command.Transport = wire.TCP
		d.stage = stageReply
		return
	}
	var ok bool
	if d.command, ok = describeCommand(m); !ok {
		d.stage = stageOver
		return
	}
	d.stage = stageReply
}

func (d *dialog) takeReply(m *message) {
	first := d.stage == stageReply
	r, ok := describeReply(m, first, d.joined)
	d.stage = stageOver
	switch {
	case !ok:
	case r.Verdict == wire.Go:
		if first {
			d.login = wire.Go
		}
		d.stage = stageData
		if d.command.Transport == wire.UDP {
			d.stage = stagePort
		} else if d.tests != nil && !r.Token.IsZero() && !d.joined {
			d.tests[r.Token] = d.command
		}
	case r.Verdict == wire.WantMD5 && first:
		d.login, d.stage = wire.WantMD5, stageChallenge
	case r.Verdict == wire.WantSRP5 && first:
		d.login, d.stage = wire.WantSRP5, stageClientKey
	}
}

// takeFrame takes a frame of EC-SRP5, or what came in its place.
func (d *dialog) takeFrame(m *message) {
	if m.raw[0] == 0 {
		if _, ok := describeReply(m, false, false); !ok {
			m.name = "unknown"
		}
		d.stage = stageOver
		return
	}
	var ok bool
	switch d.stage {
	case stageClientKey:
		ok = describeClientKey(m)
	case stageServerKey:
		ok = describeServerKey(m)
	case stageClientProof, stageServerProof:
		ok = describeProof(m)
	}
	if !ok {
		describeText(m)
		d.stage = stageOver
		return
	}
	d.stage++
}

// takePort takes the UDP port, or a second "go" that comes in its place.
func (d *dialog) takePort(m *message) {
	if len(m.raw) > wire.PortLen { // put back what follows the second "go"
		d.server.pending = append(bytes.Clone(m.raw[wire.ReplyLen:]), d.server.pending...)
		d.server.offset -= wire.PortLen
		m.raw, m.length = m.raw[:wire.ReplyLen], wire.ReplyLen
		describeReply(m, false, false)
		m.text += " " + againRemark
		d.repeated = true
		return
	}
	describePort(m)
	d.stage = stageStatuses
}

const againRemark = "(a second time, as btest-opensource does after an MD5 login)"

// flush tells what from said so far and was held back: when it closes, at the
// end, or when the dialog has left the protocol.
func (d *dialog) flush(from transcript.Side, at time.Duration) {
	h := d.half(from)
	if d.stage == stageData {
		h.bulk.add(at, at, int64(h.scanner.Rest()), 0)
		h.scanner = wire.Scanner{}
	}
	d.tellBulk(from)
	if len(h.pending) == 0 {
		return
	}
	m := d.cut(from, at, len(h.pending))
	m.kind, m.name, m.text = kindUnknown, "unknown", "where nothing is due"
	if d.stage < stageStatuses && due[d.stage].from == from {
		m.name, m.text = "incomplete", "the rest never came"
	}
	d.tell(m)
}
