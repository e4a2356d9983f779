package twamp

import (
	"encoding/binary"
	"time"

	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// An outcome is what became of a datagram that came to a reflector.
type outcome int

// The outcomes: answered, or why not.
const (
	reflected outcome = iota
	tooShort          // less than the fixed part
	badHMAC           // changed on the way, or another key
	foreign           // not from the session's sender
	unknown           // of no session, where only sessions are served
	amplifies         // the answer would be longer, and nobody vouched for the sender
	looping           // from another reflector, or our own answer come back
	tooMany           // above the limit of packets per second
	notStarted
	unwanted  // the sender asks for no answer
	overQuota // of the account
	replayed  // came before, in a session with keys
	unsent    // the system refused to send the reply; it counts as reflected too
	outcomes
)

// outcomeNames are the words for logs and metrics.
var outcomeNames = [outcomes]string{
	"reflected", "short", "bad_hmac", "foreign", "unknown", "amplifies", "loop", "rate_limited",
	"not_started", "no_reply_wanted", "over_quota", "replayed", "unsent",
}

func (o outcome) String() string { return outcomeNames[o] }

// A reflection turns the requests of one session into replies. It is arithmetic
// on octets: when packets came and when the replies leave is told to it.
type reflection struct {
	layout wire.Layout
	keys   *auth.Packets       // of TWAMP with keys; nil without
	stamp  *auth.Stamp         // of authenticated STAMP, and of HMAC TLVs; nil without
	est    *wire.ErrorEstimate // of our clock; shared by all sessions, set as the clock changes
	echo   bool                // keeps no count: replies carry the request's number
	ptp    bool                // timestamps are PTP, not NTP
	grows  bool                // a reply may be longer than its request

	replays *replays // drops packets that came before; nil reflects them
	follows bool     // the sender wants to know when replies really left

	seq      uint32         // of the next reply
	lastSeq  uint32         // of the latest one
	last     wire.Timestamp // T3 of the latest reply
	followUp wire.FollowUp  // when the latest reply that we know of really left
	class    uint8          // traffic class of the latest reply
}

// reflect appends the reply to dst. It changes request, which it may have to
// decrypt. The request came as a says; the reply leaves at sent. On any outcome
// but reflected, dst comes back as it was. With the zero Time as sent the reply
// is not finished: that is left to the caller, so that it can be late.
func (r *reflection) reflect(dst, request []byte, a arrival, sent time.Time) ([]byte, outcome) {
	q, o := r.read(request)
	if o != reflected {
		return dst, o
	}
	return r.reply(dst, request, q, a, sent)
}

// reply is reflect with a request that was read as q.
func (r *reflection) reply(dst, request []byte, q wire.Request, a arrival, sent time.Time) ([]byte, outcome) {
	l := r.layout
	size := max(len(request), l.ReplyLen())
	if size > len(request) && !r.grows {
		return dst, amplifies
	}
	if r.loops(request, a.At) {
		return dst, looping
	}
	if r.replays != nil && !r.replays.fresh(q.Seq) {
		return dst, replayed
	}
	reply := r.answer(q, a)
	start := len(dst)
	out := reply.Append(dst, l)
	out = append(out, padding(request, l, size-l.ReplyLen())...)
	out = append(out, make([]byte, start+size-len(out))...)
	r.class = a.Class &^ 3
	if l.STAMP && size > l.ReplyLen() {
		if o := r.answerTLVs(out[start:], q.Seq, a); o != reflected {
			return dst, o
		}
	}
	r.seq++
	r.lastSeq = reply.Seq
	if !sent.IsZero() {
		r.finish(out[start:], sent)
	}
	return out, reflected
}

// finish writes into a reply when it leaves, and protects it.
func (r *reflection) finish(reply []byte, sent time.Time) {
	r.last = wire.Stamp(sent, r.ptp)
	wire.PutReplySent(reply, r.layout, r.last)
	r.seal(reply)
}

// read decrypts, checks and parses a request.
func (r *reflection) read(request []byte) (wire.Request, outcome) {
	q, err := wire.ParseRequest(request, r.layout)
	if err != nil {
		return q, tooShort
	}
	switch {
	case r.keys != nil:
		if r.keys.OpenRequest(request) != nil {
			return q, badHMAC
		}
		if q, err = wire.ParseRequest(request, r.layout); err != nil {
			return q, tooShort
		}
	case r.stamp != nil && r.layout.Keyed:
		if r.stamp.Check(request) != nil {
			return q, badHMAC
		}
	}
	return q, reflected
}

// answer is the reply's fixed part, without T3.
func (r *reflection) answer(q wire.Request, a arrival) wire.Reply {
	p := wire.Reply{
		Seq:         r.seq,
		Error:       r.estimate(),
		SSID:        q.SSID,
		Received:    wire.Stamp(a.At, r.ptp),
		SenderSeq:   q.Seq,
		SenderSent:  q.Sent,
		SenderError: q.Error,
		SenderTTL:   a.TTL,
	}
	if r.echo {
		p.Seq = q.Seq
	}
	if a.TTL == 0 {
		p.SenderTTL = testTTL // RFC 5357, section 4.2.1: 255 if it cannot be told
	}
	if r.layout.TrafficClass {
		p.TrafficClass = a.Class
	}
	return p
}

func (r *reflection) estimate() wire.ErrorEstimate {
	e := wire.UnknownError
	if r.est != nil {
		e = *r.est
	}
	if r.ptp {
		return e.WithPTP()
	}
	return e
}

// seal protects a finished reply.
func (r *reflection) seal(reply []byte) {
	switch {
	case r.keys != nil:
		r.keys.SealReply(reply)
	case r.stamp != nil && r.layout.Keyed:
		r.stamp.Sign(reply)
	}
}

// loops reports whether a request is a reply of ours, reflected: it has a T3 of
// ours where a reply has its Sender Timestamp, the latest one or at least one
// that we may just have written. Padding by chance looks like that once in 10⁸
// sessions.
func (r *reflection) loops(request []byte, now time.Time) bool {
	at := 28
	switch {
	case r.layout.Keyed && r.layout.STAMP:
		at = 64
	case r.layout.Keyed:
		return false // a reply has no HMAC where a request has it
	}
	if len(request) < at+8 {
		return false
	}
	t := wire.Timestamp(binary.BigEndian.Uint64(request[at:]))
	age := now.Sub(t.Time(r.ptp, now))
	return t != 0 && (t == r.last || age >= 0 && age < loopAge)
}

// loopAge is how long two packets may go round between two reflectors.
const loopAge = 10 * time.Second

// padding is what of the request's padding comes back behind the reply's fixed
// part: its beginning, as much as there is room for.
func padding(request []byte, l wire.Layout, room int) []byte {
	from := min(l.RequestLen(), len(request))
	return request[from:min(len(request), from+room)]
}
