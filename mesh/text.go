package mesh

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// How a message is sent, and what is taken of one peer.
const (
	textEvery   = 500 * time.Millisecond // until its echo comes
	textTries   = 20
	textRate    = 5 // a second, of one peer; what is more is dropped
	textNumbers = 16
)

// A letter is a message on its way to a peer.
type letter struct {
	wire.Text
	to    *peer
	token uint64
	sent  time.Time
	tries int
	came  chan error // has a value when it is over
}

// An inbox is what is remembered of the messages of a peer. The zero inbox is
// ready to use.
type inbox struct {
	numbers [textNumbers]uint64
	next    int
	bucket  bucket
}

// isNew reports whether a message is to be shown: it did not come before, and
// there are not too many.
func (i *inbox) isNew(number uint64, now time.Time) bool {
	for _, n := range i.numbers {
		if n == number {
			return false
		}
	}
	if !i.bucket.take(1, textRate, textRate, now) {
		return false
	}
	i.numbers[i.next%textNumbers] = number
	i.next++
	return true
}

// Say sends a message to the peer with a name or ID, and returns when that node
// has it. At the other side it is a Note with the code "message". An original
// client takes it and shows nothing.
func (n *Node) Say(ctx context.Context, peer, text string) error {
	if len(text) > wire.MaxText {
		return &result.Error{Word: result.CodeUsage, Text: fmt.Sprintf("mesh: the message has %d bytes, at most %d are allowed", len(text), wire.MaxText)}
	}
	l := &letter{Text: wire.Text{Number: random() | 1, Text: text}, token: random(), came: make(chan error, 1)}
	var fault error
	if err := n.running(func(a *agent) {
		if l.to, fault = a.named(peer); fault == nil {
			a.letters = append(a.letters, l)
		}
	}); err != nil {
		return err
	}
	if fault != nil {
		return fault
	}
	select {
	case err := <-l.came:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// named finds the one peer with a name or ID.
func (a *agent) named(who string) (*peer, error) {
	var found []*peer
	for _, p := range a.sorted() {
		if who != "" && (p.name == who || p.hasID && strings.EqualFold(p.id.String(), who)) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, &result.Error{Word: result.CodeUnreachable, Text: fmt.Sprintf("mesh: no peer %q is listed", who), Hint: "give its name or its ID; see who is there with: sonde mesh peers"}
	}
	return nil, &result.Error{Word: result.CodeUsage, Text: fmt.Sprintf("mesh: %d peers are named %q", len(found), who), Hint: "give the ID of one: sonde mesh peers shows it"}
}

// post sends the messages that are due, until each has come or is given up.
func (a *agent) post(now time.Time) {
	kept := a.letters[:0]
	for _, l := range a.letters {
		if l.tries >= textTries || a.peers[l.to.key] != l.to {
			l.came <- &result.Error{Word: result.CodePeerLost, Text: "mesh: the message was not acknowledged", Hint: "look whether there is a path: sonde mesh node shows it"}
			continue
		}
		if now.Sub(l.sent) >= textEvery && (l.to.use != nil || l.to.via != nil) {
			l.sent = now
			l.tries++
			a.mail(l)
		}
		kept = append(kept, l)
	}
	clear(a.letters[len(kept):])
	a.letters = kept
}

// mail sends a message. It counts as a check, so that it is no part of what is
// measured; to an original client it is a ping with something unknown in it.
func (a *agent) mail(l *letter) {
	p, bodies, number := l.to, []wire.Body{l.Text}, &l.to.sequence
	if p.sonde {
		bodies, number = append(bodies, wire.Path{Nonce: p.nonce, Flags: wire.PathCheck}), &p.checkNumber
	}
	pkt := &wire.Packet{Stamp: &l.token, Ext: stream(bodies...)}
	if p.use != nil {
		a.toPeer(p, p.use.At, nil, pkt, number)
		return
	}
	a.toPeer(p, netip.AddrPort{}, p.via, pkt, number)
}

// delivered takes an echo; it is true if that of a message.
func (a *agent) delivered(p *peer, echo uint64) bool {
	for i, l := range a.letters {
		if l.token == echo && l.to == p {
			l.came <- nil
			a.letters = append(a.letters[:i], a.letters[i+1:]...)
			return true
		}
	}
	return false
}

// show shows a message that came.
func (a *agent) show(now time.Time, p *peer, t wire.Text) {
	if !p.inbox.isNew(t.Number, now) {
		return
	}
	a.sink.Put(result.Note{Head: a.head(p, now), Level: result.Info, Code: "message", Text: fmt.Sprintf("%s says: %s", p.title(), t.Text)})
}
