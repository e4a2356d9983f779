package rperf

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// configuration is the order for the test; the ports of a reverse one are not
// in it yet.
func (c *clientRun) configuration() wire.Configuration {
	cfg := wire.Configuration{
		UDP: c.UDP, Reverse: c.Direction == result.Down, TestID: wire.TestID(newUUID()),
		Streams: c.Streams, Length: c.Length,
	}
	if !c.Classic {
		cfg.Sonde = &wire.Offer{Version: wire.OfferVersion, Dial: cfg.Reverse}
	}
	if !cfg.Reverse {
		cfg.ReceiveBuffer = c.ReceiveBuffer
		return cfg
	}
	cfg.Bandwidth = bytesPerSecond(c.Rate)
	cfg.Duration = wire.SecondsOf(c.Duration)
	cfg.SendInterval = wire.SecondsOf(c.SendInterval)
	cfg.SendBuffer, cfg.NoDelay = c.SendBuffer, c.NoDelay
	return cfg
}

// newUUID is a random UUID of version 4, as the original's test ids are.
func newUUID() uuid.UUID {
	var id uuid.UUID
	rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// agree says what we want and makes our ends of the streams.
func (c *clientRun) agree(ctx context.Context, t *test) (err error) {
	p := planOf(t.cfg)
	p.rate, p.duration, p.noDelay = c.Rate, c.Duration, c.NoDelay
	p.queueing, p.budget = &t.queue, c.Budget
	p.sendBuf, p.recvBuf = c.SendBuffer, c.ReceiveBuffer
	if t.cfg.Reverse {
		t.parts, t.cfg.StreamPorts, err = c.yard.listening(ctx, p, c.UDP, false, c.Streams)
		if err != nil {
			return localError(err)
		}
	}
	defer func() {
		if err != nil {
			closeAll(t.parts)
		}
	}()
	if err := t.ctrl.write(t.cfg); err != nil {
		return c.closedEarly(err)
	}
	answer, err := c.answer(ctx, t)
	if err != nil {
		return c.closedEarly(err)
	}
	var ports []uint16
	switch m := answer.(type) {
	case wire.Connect:
		ports, t.exact = m.StreamPorts, m.Sonde != nil
		if t.cfg.Reverse {
			return protocolError(errors.New("the server waits for data that it was to send"), "")
		}
	case wire.ConnectReady:
		if !t.cfg.Reverse {
			return protocolError(errors.New("the server is about to send what it was to receive"), "")
		}
		t.exact = m.Sonde != nil
		if !t.exact || m.Sonde.StreamPorts == nil {
			return nil // it opens the streams
		}
		ports = m.Sonde.StreamPorts
		closeAll(t.parts)
		t.parts = nil
	default:
		return protocolError(fmt.Errorf("got %s, want connect or connect-ready", answer.Kind()), "")
	}
	if len(ports) != c.Streams {
		return protocolError(fmt.Errorf("the server opened %d ports for %d streams", len(ports), c.Streams), "ask for fewer streams")
	}
	t.parts, err = c.yard.calling(ctx, p, c.UDP, t.sends, ports)
	if err != nil {
		return localError(err)
	}
	return nil
}

// answer waits for the answer to the configuration, longer when the server
// says that there are others before us.
func (c *clientRun) answer(ctx context.Context, t *test) (wire.Message, error) {
	wait := answerTime
	deadline := time.Now().Add(queueTime)
	for {
		m, err := t.ctrl.read(ctx, "answer to the configuration", wait)
		if err != nil {
			return nil, err
		}
		q, ok := m.(wire.Queued)
		if !ok {
			return m, nil
		}
		if time.Now().After(deadline) {
			return nil, &result.Error{Word: result.CodeRefused, Text: fmt.Sprintf("the server had no place for the test within %v", queueTime)}
		}
		text := fmt.Sprintf("the server is busy: place %d in its queue", q.Position)
		if q.Wait > 0 {
			text += fmt.Sprintf(", about %v to wait", q.Wait.Duration().Round(time.Second))
		}
		c.sink.Put(result.Note{Head: t.now(), Level: result.Info, Code: "queued", Text: text})
	}
}

// closedEarly explains a server that closes on the configuration.
func (c *clientRun) closedEarly(err error) error {
	if gone(err) {
		return &result.Error{Word: result.CodeRefused, Err: err,
			Hint: "the server closes on the order: it may be full, limit clients or have no port left; a real rperf stays so for forward tests until it is restarted"}
	}
	return err
}

// localError says that our own system refused something.
func localError(err error) error {
	if _, ok := errors.AsType[*result.Error](err); ok {
		return err
	}
	return &result.Error{Word: result.CodeLocal, Err: err}
}
