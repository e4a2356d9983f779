package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Probe is a scheduled probe as the store knows it.
type Probe struct {
	Num int64
	ProbeName
	State string    // "ok", "failed", "unknown"
	Since time.Time // of the state
	Last  *ProbeRun // the latest test, without its Document; nil if there was none
}

// Probes are all probes that ever wrote into the store, by name.
func (s *Store) Probes(ctx context.Context) ([]Probe, error) { return s.probes(ctx, "") }

// ProbeByName is one probe. See IsNotFound.
func (s *Store) ProbeByName(ctx context.Context, name string) (Probe, error) {
	if name == "" {
		return Probe{}, errNotFound
	}
	all, err := s.probes(ctx, name)
	if err == nil && len(all) == 0 {
		err = errNotFound
	}
	if err != nil {
		return Probe{}, err
	}
	return all[0], nil
}

func (s *Store) probes(ctx context.Context, name string) ([]Probe, error) {
	const what = "read probes"
	c := &conditions{}
	if name != "" {
		c.add("name = $%d", text(name))
	}
	rows, err := s.read.QueryContext(ctx, `SELECT num, name, protocol, target, every, state, since, run FROM probe`+c.where()+` ORDER BY name`, c.args...)
	if err != nil {
		return nil, s.explain(what, err)
	}
	defer rows.Close()
	var all []Probe
	var last []*int64
	for rows.Next() {
		var p Probe
		var since int64
		var run *int64
		if err := rows.Scan(&p.Num, &p.Name, &p.Protocol, &p.Target, &p.Every, &p.State, &since, &run); err != nil {
			return nil, s.explain(what, err)
		}
		p.Since = at(since)
		all, last = append(all, p), append(last, run)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, s.explain(what, err)
	}
	for n, run := range last {
		if run == nil {
			continue
		}
		runs, err := s.ProbeRuns(ctx, ProbeFilter{Num: *run, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(runs) == 1 { // else it was dropped for its age
			all[n].Last = &runs[0]
		}
	}
	return all, nil
}

// A ProbeFilter chooses what probes did. What is empty or zero chooses all.
type ProbeFilter struct {
	Probe    string // its name
	Protocol string
	Num      int64
	From, To time.Time // at or after, and before
	Before   int64     // Num: for the next page
	Limit    int       // 0 means 100
}

func (f ProbeFilter) conditions(time string) *conditions {
	c := &conditions{}
	if f.Probe != "" {
		c.add("p.name = $%d", text(f.Probe))
	}
	if f.Protocol != "" {
		c.add("p.protocol = $%d", text(f.Protocol))
	}
	if f.Num != 0 {
		c.add("r.num = $%d", f.Num)
	}
	if !f.From.IsZero() {
		c.add("r."+time+" >= $%d", ns(f.From))
	}
	if !f.To.IsZero() {
		c.add("r."+time+" < $%d", ns(f.To))
	}
	if f.Before != 0 {
		c.add("r.num < $%d", f.Before)
	}
	return c
}

// page is the end of a query for the newest first.
func (f ProbeFilter) page(c *conditions, time string) string {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	c.args = append(c.args, limit)
	return fmt.Sprintf(` ORDER BY r.%s DESC, r.num DESC LIMIT $%d`, time, len(c.args))
}

const nameColumns = `p.name, p.protocol, p.target, p.every`

// ProbeRuns are tests of probes one by one, newest first, without their
// Documents. They are kept for Retention.ProbeRuns; see ProbeHistory for what
// was before.
func (s *Store) ProbeRuns(ctx context.Context, f ProbeFilter) ([]ProbeRun, error) {
	var all []ProbeRun
	c := f.conditions("started")
	err := s.eachProbeRun(ctx, c.where()+f.page(c, "started"), c.args, func(r ProbeRun) { all = append(all, r) })
	return all, err
}

func (s *Store) eachProbeRun(ctx context.Context, tail string, args []any, each func(ProbeRun)) error {
	const what = "read probe runs"
	rows, err := s.read.QueryContext(ctx, `SELECT r.num, r.id, `+nameColumns+`, r.started, r.took, r.bytes, r.success, r.state, r.word, r.error, r.why,
		r.down, r.up, r.sent, r.lost, r.rtt_count, r.rtt_min, r.rtt_p50, r.rtt_p90, r.rtt_p99, r.rtt_max,
		r.load_count, r.load_min, r.load_p50, r.load_p90, r.load_p99, r.load_max FROM probe_run r JOIN probe p ON p.num = r.probe`+tail, args...)
	if err != nil {
		return s.explain(what, err)
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanProbeRun(rows)
		if err != nil {
			return s.explain(what, err)
		}
		each(r)
	}
	return s.explain(what, rows.Err())
}

func scanProbeRun(rows *sql.Rows) (ProbeRun, error) {
	var r ProbeRun
	var started, moved, good int64
	var down, up, sent, lost *int64
	var rtt, load [6]*int64
	err := rows.Scan(&r.Num, &r.ID, &r.Probe.Name, &r.Probe.Protocol, &r.Probe.Target, &r.Probe.Every, &started, &r.Took, &moved, &good,
		&r.State, &r.Word, &r.Error, &r.Why, &down, &up, &sent, &lost,
		&rtt[0], &rtt[1], &rtt[2], &rtt[3], &rtt[4], &rtt[5], &load[0], &load[1], &load[2], &load[3], &load[4], &load[5])
	r.Started, r.Bytes, r.Success = at(started), uint64(max(0, moved)), good != 0
	r.Down, r.Up, r.Sent, r.Lost = unsigned(down), unsigned(up), unsigned(sent), unsigned(lost)
	r.RTT, r.Loaded = spreadOf(rtt), spreadOf(load)
	return r, err
}

// ProbeRun is one test with its Document, if that is still kept. See IsNotFound.
func (s *Store) ProbeRun(ctx context.Context, num int64) (ProbeRun, error) {
	if num == 0 {
		return ProbeRun{}, errNotFound
	}
	all, err := s.ProbeRuns(ctx, ProbeFilter{Num: num, Limit: 1})
	if err == nil && len(all) == 0 {
		err = errNotFound
	}
	if err != nil {
		return ProbeRun{}, err
	}
	r := all[0]
	r.Document, err = s.document(ctx, num)
	return r, s.explain("read a result", err)
}

// document is the result of a run as JSON; nil if it is no longer kept.
func (s *Store) document(ctx context.Context, num int64) ([]byte, error) {
	var body []byte
	err := s.read.QueryRowContext(ctx, `SELECT body FROM probe_document WHERE run = $1`, num).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, mostDocument))
}

// A ProbePoint is what a probe found in a span of time: the points of a smoke
// graph and of a history of rates. Sketches are empty, and At of them nil, where
// nothing was measured.
type ProbePoint struct {
	Start       time.Time
	Width       time.Duration
	Runs, Good  int // tests, and those with success
	Missed      int // tests that were due and not made
	Bytes       uint64
	Sent, Lost  *uint64 // packets
	RTT, Loaded Sketch  // ns: round trips, idle or of packets, and under load
	Down, Up    Sketch  // bit/s: the rates of the tests
	OneByOne    bool    // made of single tests, which ProbeRuns still has
}

// ProbeHistory is what a probe did from one moment to another, in at most about
// points spans of the same width, oldest first; spans without anything are left
// out. Where tests are no longer kept one by one, spans are of an hour or wider,
// and later of a day or wider: their quantiles stay right to one percent.
func (s *Store) ProbeHistory(ctx context.Context, probe string, from, to time.Time, points int) ([]ProbePoint, error) {
	const what = "read the history of a probe"
	if points < 1 {
		points = 1
	}
	width := max(to.Sub(from)/time.Duration(points), time.Second)
	m := &spans{from: from, width: width, at: map[int64]*ProbePoint{}}
	var err error
	if width < time.Hour {
		if err = s.fineHistory(ctx, m, probe, from, to); err != nil {
			return nil, err
		}
	}
	// Sums serve for all that is older than the tests that are still there.
	until := to
	if m.oldest != nil {
		until = m.oldest.UTC().Truncate(time.Hour)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT width, `+sumColumns+` FROM probe_sum WHERE probe = (SELECT num FROM probe WHERE name = $1)
		AND start + width > $2 AND start < $3 ORDER BY start`, text(probe), ns(from), ns(until))
	if err != nil {
		return nil, s.explain(what, err)
	}
	defer rows.Close()
	for rows.Next() {
		var wide time.Duration
		one, err := scanSum(func(into ...any) error { return rows.Scan(append([]any{&wide}, into...)...) })
		if err != nil {
			return nil, s.explain(what, err)
		}
		m.add(one, max(wide, width))
	}
	return m.sorted(), s.explain(what, rows.Err())
}

// fineHistory adds tests one by one, and what was missed.
func (s *Store) fineHistory(ctx context.Context, m *spans, probe string, from, to time.Time) error {
	f := ProbeFilter{Probe: probe, From: from, To: to}
	c := f.conditions("started")
	if err := s.eachProbeRun(ctx, c.where()+` ORDER BY r.started`, c.args, func(r ProbeRun) {
		if m.oldest == nil {
			m.oldest = &r.Started
		}
		m.ran(r)
	}); err != nil {
		return err
	}
	if m.oldest == nil {
		return nil
	}
	f.From = *m.oldest
	f.Limit = 1 << 20
	missed, err := s.ProbeMissed(ctx, f)
	for _, one := range missed {
		m.point(one.Time, m.width).Missed += one.Runs
	}
	return err
}

// ProbeMissed are tests that were not made, newest first. Of f Num does not
// matter.
func (s *Store) ProbeMissed(ctx context.Context, f ProbeFilter) ([]ProbeMissed, error) {
	const what = "read missed tests"
	c := f.conditions("at")
	rows, err := s.read.QueryContext(ctx, `SELECT `+nameColumns+`, r.at, r.reason, r.runs FROM probe_missed r JOIN probe p ON p.num = r.probe`+
		c.where()+f.page(c, "at"), c.args...)
	if err != nil {
		return nil, s.explain(what, err)
	}
	defer rows.Close()
	var all []ProbeMissed
	for rows.Next() {
		var m ProbeMissed
		var when int64
		if err := rows.Scan(&m.Probe.Name, &m.Probe.Protocol, &m.Probe.Target, &m.Probe.Every, &when, &m.Reason, &m.Runs); err != nil {
			return nil, s.explain(what, err)
		}
		m.Time = at(when)
		all = append(all, m)
	}
	return all, s.explain(what, rows.Err())
}

// ProbeChanges are changes of state, newest first. Of f Num does not matter.
func (s *Store) ProbeChanges(ctx context.Context, f ProbeFilter) ([]ProbeChange, error) {
	const what = "read changes of probes"
	c := f.conditions("at")
	rows, err := s.read.QueryContext(ctx, `SELECT `+nameColumns+`, r.at, r.was, r.state, r.text FROM probe_change r JOIN probe p ON p.num = r.probe`+
		c.where()+f.page(c, "at"), c.args...)
	if err != nil {
		return nil, s.explain(what, err)
	}
	defer rows.Close()
	var all []ProbeChange
	for rows.Next() {
		var one ProbeChange
		var when int64
		if err := rows.Scan(&one.Probe.Name, &one.Probe.Protocol, &one.Probe.Target, &one.Probe.Every, &when, &one.Before, &one.State, &one.Text); err != nil {
			return nil, s.explain(what, err)
		}
		one.Time = at(when)
		all = append(all, one)
	}
	return all, s.explain(what, rows.Err())
}

// ProbeBytes is how many bytes a probe has moved since a moment, which is a
// whole hour.
func (s *Store) ProbeBytes(ctx context.Context, probe string, since time.Time) (uint64, error) {
	var n int64
	err := s.read.QueryRowContext(ctx, `SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM probe_sum
		WHERE probe = (SELECT num FROM probe WHERE name = $1) AND start >= $2`, text(probe), ns(since)).Scan(&n)
	return uint64(max(0, n)), s.explain("sum up the bytes of a probe", err)
}
