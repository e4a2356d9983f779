package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A ProbeName says which scheduled probe something is about. Daemons that share
// a store need different names for their probes.
type ProbeName struct {
	Name     string
	Protocol string
	Target   string
	Every    time.Duration
}

// A Spread is what is known of many times.
type Spread struct {
	Count                   uint64
	Min, P50, P90, P99, Max time.Duration
}

// A ProbeRun is one test of a probe. What was not measured is nil.
type ProbeRun struct {
	Num        int64 // short name for pages; given by the store
	ID         result.ID
	Probe      ProbeName
	Started    time.Time
	Took       time.Duration
	Bytes      uint64 // that it moved, both ways
	Success    bool   // it was made and crossed no threshold
	State      string // of the probe after it: "ok", "failed", "unknown"
	Word       string // of the error, or of the verdict; empty for a success
	Error      string // in words
	Why        string // what kept it from being faster, one line
	Down, Up   *uint64
	Sent, Lost *uint64 // packets; of a round trip, or of both ways added
	RTT        *Spread // of the packets, or of the idle line
	Loaded     *Spread // while the test filled the line
	// Document is the whole result as JSON, as report writes it; only of the
	// latest runs of a probe, and only from ProbeRun.
	Document []byte
}

// A ProbeMissed are tests that were due and not made.
type ProbeMissed struct {
	Probe  ProbeName
	Time   time.Time
	Reason string // such as "line_busy"
	Runs   int
}

// A ProbeChange is a change of a probe's state.
type ProbeChange struct {
	Probe         ProbeName
	Time          time.Time
	Before, State string
	Text          string // what made it
}

// Ran keeps a test of a probe.
func (k *Sink) Ran(r ProbeRun) {
	if len(k.queue) > cap(k.queue)/16 {
		r.Document = nil // figures are worth more than the details while the store is gone
	}
	k.put(r)
}

// Missed keeps that tests were not made.
func (k *Sink) Missed(m ProbeMissed) { k.put(m) }

// Changed keeps a change of state.
func (k *Sink) Changed(c ProbeChange) { k.put(c) }

// Stopped is the Word of a test that was ended by its own side, which says
// nothing of the path: only its bytes count.
const Stopped = "stopped"

// DefaultRing is how many documents of a probe are kept.
const DefaultRing = 500

// mostDocument bounds a document, in bytes of JSON.
const mostDocument = 4 << 20

// probeNum is the number of a probe, which is made if it is new.
func probeNum(ctx context.Context, tx *sql.Tx, p ProbeName, now time.Time) (num int64, err error) {
	err = tx.QueryRowContext(ctx, `INSERT INTO probe (name, protocol, target, every, state, since) VALUES ($1, $2, $3, $4, 'unknown', $5)
		ON CONFLICT (name) DO UPDATE SET protocol = excluded.protocol, target = excluded.target, every = excluded.every RETURNING num`,
		text(p.Name), text(p.Protocol), text(p.Target), int64(p.Every), ns(now)).Scan(&num)
	return num, err
}

func (s *Store) writeProbeRun(ctx context.Context, tx *sql.Tx, r ProbeRun) error {
	probe, err := probeNum(ctx, tx, r.Probe, r.Started)
	if err != nil {
		return err
	}
	rtt, load := r.RTT.columns(), r.Loaded.columns()
	good := int64(0)
	if r.Success {
		good = 1
	}
	var num int64
	err = tx.QueryRowContext(ctx, `INSERT INTO probe_run (id, probe, started, took, bytes, success, state, word, error, why, down, up, sent, lost,
		rtt_count, rtt_min, rtt_p50, rtt_p90, rtt_p99, rtt_max, load_count, load_min, load_p50, load_p90, load_p99, load_max)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)
		ON CONFLICT (id) DO NOTHING RETURNING num`,
		text(string(r.ID)), probe, ns(r.Started), int64(r.Took), count(r.Bytes), good, text(r.State), text(r.Word), text(r.Error), text(r.Why),
		signed(r.Down), signed(r.Up), signed(r.Sent), signed(r.Lost),
		rtt[0], rtt[1], rtt[2], rtt[3], rtt[4], rtt[5], load[0], load[1], load[2], load[3], load[4], load[5]).Scan(&num)
	if err == sql.ErrNoRows {
		return nil // it was written, though the answer got lost
	}
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE probe SET since = CASE WHEN state = $1 THEN since ELSE $2 END, state = $1, run = $3 WHERE num = $4`,
		text(r.State), ns(r.Started), num, probe); err != nil {
		return err
	}
	if err := s.writeDocument(ctx, tx, probe, num, r.Document); err != nil {
		return err
	}
	return addToSum(ctx, tx, probe, time.Hour, sumOf(r))
}

// columns are a Spread for the database.
func (p *Spread) columns() [6]*int64 {
	if p == nil || p.Count == 0 {
		return [6]*int64{}
	}
	return [6]*int64{new(count(p.Count)), new(int64(p.Min)), new(int64(p.P50)), new(int64(p.P90)), new(int64(p.P99)), new(int64(p.Max))}
}

func spreadOf(c [6]*int64) *Spread {
	for _, v := range c {
		if v == nil {
			return nil
		}
	}
	return &Spread{Count: uint64(*c[0]), Min: time.Duration(*c[1]), P50: time.Duration(*c[2]), P90: time.Duration(*c[3]), P99: time.Duration(*c[4]),
		Max: time.Duration(*c[5])}
}

// writeDocument keeps the whole result of a run in the place of the oldest of
// the ring.
func (s *Store) writeDocument(ctx context.Context, tx *sql.Tx, probe, run int64, document []byte) error {
	if len(document) == 0 || len(document) > mostDocument {
		return nil
	}
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	if _, err := z.Write(document); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO probe_document (run, probe, body) VALUES ($1, $2, $3)`, run, probe, body.Bytes()); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM probe_document WHERE probe = $1 AND run <=
		(SELECT run FROM probe_document WHERE probe = $1 ORDER BY run DESC LIMIT 1 OFFSET $2)`, probe, s.keep.Ring)
	return err
}

func writeProbeMissed(ctx context.Context, tx *sql.Tx, m ProbeMissed) error {
	probe, err := probeNum(ctx, tx, m.Probe, m.Time)
	if err != nil {
		return err
	}
	r, err := tx.ExecContext(ctx, `INSERT INTO probe_missed (probe, at, reason, runs) VALUES ($1, $2, $3, $4) ON CONFLICT (probe, at, reason) DO NOTHING`,
		probe, ns(m.Time), text(m.Reason), int64(m.Runs))
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return addToSum(ctx, tx, probe, time.Hour, probeSum{start: m.Time.UTC().Truncate(time.Hour), missed: int64(m.Runs)})
}

func writeProbeChange(ctx context.Context, tx *sql.Tx, c ProbeChange) error {
	probe, err := probeNum(ctx, tx, c.Probe, c.Time)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO probe_change (probe, at, was, state, text) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (probe, at) DO NOTHING`,
		probe, ns(c.Time), text(c.Before), text(c.State), text(c.Text)); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE probe SET since = CASE WHEN state = $1 THEN since ELSE $2 END, state = $1 WHERE num = $3`,
		text(c.State), ns(c.Time), probe)
	return err
}
