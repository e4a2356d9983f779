package rperf

import (
	"time"

	"github.com/sonde-net/sonde/internal/stream"
)

// fewStreams need not pause: with a goroutine each they take little.
const fewStreams = 16

// restEvery is how often streams that pause are looked at.
const restEvery = 50 * time.Millisecond

// abandon frees what a test that does not start has.
func (t *test) abandon() {
	closeAll(t.parts)
	if t.poller != nil {
		t.poller.Close()
	}
}

// pause has a part wait without a goroutine.
func (t *test) pause(tr *track, p *stream.Pause) error {
	tr.wait.Lock()
	defer tr.wait.Unlock()
	if p.Conn != nil {
		if err := t.poller.Enter(p.Conn, p.Write, func() { t.resume(tr) }); err != nil {
			return err
		}
	}
	t.paused.Add(1)
	if tr.rest = p; !p.Until.IsZero() {
		tr.wake = time.AfterFunc(time.Until(p.Until), func() { t.resume(tr) })
	}
	if t.ctx.Err() != nil && t.awake(tr) { // release may not have seen this pause
		t.wg.Go(func() { t.follow(tr) })
	}
	return nil
}

// resume has a part go on if it pauses.
func (t *test) resume(tr *track) {
	tr.wait.Lock()
	defer tr.wait.Unlock()
	if t.awake(tr) {
		t.wg.Go(func() { t.follow(tr) })
	}
}

// awake ends the pause of a part. It is false when there was none: of several
// that want to wake it only one does. tr.wait is held.
func (t *test) awake(tr *track) bool {
	if tr.rest == nil {
		return false
	}
	t.paused.Add(-1)
	if tr.rest.Conn != nil {
		t.poller.Leave(tr.rest.Conn)
	}
	if tr.wake != nil {
		tr.wake.Stop()
	}
	tr.rest, tr.wake = nil, nil
	return true
}

// release ends the pauses when the test does, one after the other, and the
// poller when all parts have ended.
func (t *test) release() {
	defer t.poller.Close()
	select {
	case <-t.own:
		return
	case <-t.ctx.Done():
	}
	for _, tr := range t.tracks {
		tr.wait.Lock()
		paused := t.awake(tr)
		tr.wait.Unlock()
		if paused {
			t.follow(tr)
		}
	}
	<-t.own
}
