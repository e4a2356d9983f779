package twamp

import (
	"bytes"
	"fmt"
	"time"

	"github.com/sonde-net/sonde/twamp/wire"
)

// A patient is a reflector under examination: packets go there one by one.
type patient struct {
	name     string
	sender   *sender
	seq      uint32
	answered int
	last     wire.Reply
	in       []datagram
}

// askedPackets is how many packets a patient gets, and askTime how long it may
// take to answer one.
const (
	askedPackets = 8
	askTime      = time.Second
	askedPadding = 100
)

func newPatient(s *sender, name string) *patient {
	return &patient{name: name, sender: s, in: newDatagrams(1)}
}

// An answer is one reply with all that can be said of it.
type answer struct {
	wire.Reply
	arrival
	request []byte // as it was before it was protected
	padding []byte // behind the reply's fixed part
	size    int
	sent    time.Time
}

// ask sends one packet and waits for its reply.
func (p *patient) ask() (answer, bool) {
	s := p.sender
	request := s.packet()
	now := time.Now()
	s.compose(request, p.seq, now, wire.UnknownError)
	p.seq++
	plain := bytes.Clone(request)
	if _, err := s.port.write([]parcel{{b: request, to: s.to, class: s.probe.DSCP << 2}}); err != nil {
		return answer{}, false
	}
	if s.port.setReadDeadline(now.Add(askTime)) != nil {
		return answer{}, false
	}
	for {
		n, err := s.port.read(p.in)
		if err != nil {
			return answer{}, false
		}
		if n == 0 {
			continue
		}
		a, b := p.in[0].arrival, p.in[0].octets()
		r, err := s.openReply(b)
		if a.From != s.to || err != nil || r.SenderSeq != p.seq-1 {
			continue
		}
		p.answered++
		p.last = r
		if s.layout.STAMP && len(b) > s.layout.ReplyLen() {
			s.readTLVs(b, r)
		}
		return answer{r, a, plain, bytes.Clone(b[min(len(b), s.layout.ReplyLen()):]), len(b), now}, true
	}
}

// replies asks a few times and compares the answers with what is due.
func (e *examine) replies(p *patient) {
	var all []answer
	for n := range askedPackets {
		a, ok := p.ask()
		if !ok && n == 0 {
			if a, ok = p.ask(); !ok { // one may be lost
				break
			}
		}
		if ok {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		if p.name == "session" {
			e.departs("no_replies", "the session was started, but no packet comes back from UDP port %d: a firewall on the way?", p.sender.to.Port())
		}
		return
	}
	e.sizes(p, all)
	e.fields(p, all)
	e.numbers(p, all)
	e.times(p, all)
	e.headers(p, all)
}

func (e *examine) sizes(p *patient, all []answer) {
	a := all[0]
	fixed := p.sender.layout.ReplyLen()
	switch {
	case a.size < fixed:
		e.departs("reply_short", "%s: replies of %d octets, %d are due", p.name, a.size, fixed)
	case a.size != max(len(a.request), fixed):
		e.departs("reply_size", "%s: replies of %d octets to requests of %d", p.name, a.size, len(a.request))
	}
	from := p.sender.layout.RequestLen()
	if n := min(len(a.padding), len(a.request)-from); !p.sender.layout.STAMP && n > 0 && !bytes.Equal(a.padding[:n], a.request[from:from+n]) {
		e.departs("padding_changed", "%s: the padding does not come back as it was sent", p.name)
	}
}

func (e *examine) fields(p *patient, all []answer) {
	if all[0].SenderSent != wire.Stamp(all[0].sent, p.sender.probe.PTP) {
		e.departs("sender_timestamp", "%s: the sender's timestamp does not come back as it was sent", p.name)
	}
	if all[0].size >= 38 && all[0].SenderError != wire.UnknownError {
		e.departs("sender_error", "%s: the sender's error estimate comes back as %#04x", p.name, uint16(all[0].SenderError))
	}
	est := all[0].Error
	if _, ok := est.Bound(); !ok {
		what := fmt.Sprintf("%s: the error estimate %#04x says nothing", p.name, uint16(est))
		if est&0xff == 0 {
			e.departs("error_estimate", "%s: its multiplier must not be 0", what)
		} else {
			e.note("error_estimate", "%s", what)
		}
	}
}

func (e *examine) numbers(p *patient, all []answer) {
	echo, steps := true, true
	for i, a := range all {
		echo = echo && a.Seq == a.SenderSeq
		steps = steps && (i == 0 || a.Seq-all[i-1].Seq == 1)
	}
	first := all[0]
	switch {
	case first.Seq != 0 && first.Seq != first.SenderSeq:
		e.departs("first_number", "%s: the first reply has number %d, not 0", p.name, first.Seq)
	case !steps && !echo && len(all) == int(p.seq):
		e.departs("numbers", "%s: the numbers of the replies do not count up by 1", p.name)
	}
}

func (e *examine) times(p *patient, all []answer) {
	same := true
	for _, a := range all {
		t2, t3 := a.Received.Time(a.Error.PTP(), a.At), a.Sent.Time(a.Error.PTP(), a.At)
		same = same && a.Received == a.Sent
		if held := t3.Sub(t2); held < 0 || held > a.At.Sub(a.sent) {
			e.departs("times", "%s: between receive and transmit timestamp lie %v, the whole round trip took %v", p.name, held, a.At.Sub(a.sent))
			break
		}
	}
	if same {
		e.departs("one_stamp", "%s: receive and transmit timestamp are the same: the reflector's own time counts as the network's", p.name)
	}
	a := all[len(all)-1]
	if a.Error.PTP() && !p.sender.probe.PTP {
		e.note("ptp", "%s: timestamps are in the PTP format", p.name)
	}
	out := a.Received.Time(a.Error.PTP(), a.At).Sub(a.sent.Round(0))
	if off := out - a.At.Sub(a.sent)/2; off.Abs() > time.Second {
		e.note("clock", "%s: the reflector's clock is %v ahead of ours", p.name, off.Round(time.Millisecond))
	}
}

func (e *examine) headers(p *patient, all []answer) {
	a := all[0]
	if a.size > 40 && a.SenderTTL == 0 {
		e.departs("sender_ttl", "%s: the sender's TTL is told as 0; 255 is due if it is not known", p.name)
	}
	if a.TTL != 0 && a.TTL <= 128 {
		e.departs("reply_ttl", "%s: replies come with TTL %d: they were not sent with 255", p.name, a.TTL)
	}
	if want := p.sender.probe.DSCP; a.Classed && a.Class>>2 != want {
		e.departs("reply_dscp", "%s: replies are marked with DSCP %d, not %d", p.name, a.Class>>2, want)
	}
}
