package probe

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/app/schedule"
)

// A loop is one probe at work.
type loop struct {
	*Host
	*Probe
	*memory
	judge judge
	slept time.Duration
}

// A memory is what a probe's settings do not change. One loop at a time uses it.
type memory struct {
	recalled bool // what was before the start is in it
	state    State
	purse    purse
	hanging  atomic.Bool // a test was given up and has not ended
}

func newLoop(h *Host, p *Probe, m *memory) *loop {
	m.purse.most, m.purse.last = p.PerDay, 0
	return &loop{Host: h, Probe: p, memory: m, judge: newJudge(p, m.state), slept: h.asleep()}
}

// run makes the probe's tests until ctx ends.
func (l *loop) run(ctx context.Context) {
	l.recall(ctx)
	if !l.wait(ctx) {
		return
	}
	start, last := time.Now(), -1
	plan := schedule.Plan{Every: l.Every, Jitter: l.Jitter}
	for n := range plan.Turns(ctx) {
		l.overslept()
		if n > last+1 {
			l.missed(MissedRunning, n-last-1)
		}
		last = n
		l.turn(ctx, start.Add(time.Duration(n+1)*l.Every))
	}
}

// recall asks what is known from before.
func (l *loop) recall(ctx context.Context) {
	if l.Known == nil || l.recalled {
		return
	}
	today := dayOf(l.now())
	state, moved, err := l.Known(ctx, l.Name, today)
	if err != nil {
		if ctx.Err() == nil {
			l.log().Warn("what a probe did before is not known", "probe", l.Name, "err", err)
		}
		return
	}
	l.recalled = true
	l.purse.spend(today, moved)
	if l.judge.state == "" && state != Unknown {
		l.judge.restore(state)
	}
}

// wait sleeps until the wall clock shows a multiple of Every; false when ctx
// ended before. A daemon that is started over and over, or a probe whose
// settings change, does not test each time.
func (l *loop) wait(ctx context.Context) bool {
	now := l.now()
	past := time.Duration(now.UnixNano() % int64(l.Every))
	if past == 0 {
		// No timer of no time: with the race detector, many that come due at once
		// in a bubble of synctest end the process (golang/go#78156).
		return ctx.Err() == nil
	}
	t := time.NewTimer(l.Every - past)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// overslept tells of the turns that were due while the machine slept, whose
// monotonic clock stood still meanwhile.
func (l *loop) overslept() {
	slept := l.asleep()
	n := int((slept - l.slept) / l.Every)
	if n > 0 {
		l.missed(MissedAsleep, n)
		l.slept = slept
	}
}

func (l *loop) missed(reason string, runs int) {
	m := Missed{Probe: l.Probe, Time: l.now(), Reason: reason, Runs: runs}
	l.log().Warn("tests were missed", "probe", l.Name, "reason", reason, "tests", runs)
	l.each(func(w Watcher) { w.Missed(m) })
}

// turn makes the test that is due, or says why not. The next turn begins at end.
func (l *loop) turn(ctx context.Context, end time.Time) {
	if l.hanging.Load() {
		l.missed(MissedHanging, 1)
		return
	}
	left, ok := l.purse.left(dayOf(l.now()))
	if !ok {
		l.missed(MissedCap, 1)
		return
	}
	if l.Alone && l.Line != nil {
		// A test that gets the line late has to be over when its next turn comes.
		waits, stop := context.WithDeadline(ctx, end.Add(-l.Length))
		release, err := l.Line(waits)
		stop()
		if ctx.Err() != nil && err != nil {
			return
		}
		if err != nil {
			l.missed(MissedLine, 1)
			return
		}
		defer release()
	}
	l.ran(l.attempt(ctx, left))
}

// ran tells what became of a test.
func (l *loop) ran(r Run) {
	l.purse.ran(dayOf(l.now()), r)
	if r.Stopped {
		r.State = l.judge.current()
		l.each(func(w Watcher) { w.Ran(r) })
		return
	}
	change := l.judge.add(&r)
	l.state = l.judge.state
	l.said(r)
	l.each(func(w Watcher) { w.Ran(r) })
	if change == nil {
		return
	}
	change.Time = l.now()
	l.log().Warn("the state of a probe has changed", "probe", l.Name, "state", string(change.State), "before", string(change.Before), "why", change.Text)
	l.each(func(w Watcher) { w.Changed(*change) })
}

func (l *loop) said(r Run) {
	if r.Success {
		l.log().Debug("probe", "probe", l.Name, "run", string(r.ID), "took", r.Took)
		return
	}
	l.log().Info("a probe's test was no success", "probe", l.Name, "run", string(r.ID), "state", string(r.State), "err", r.Err)
}
