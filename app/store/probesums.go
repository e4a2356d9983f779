package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// A probeSum is what many tests of a probe came to: an hour, or a day of hours
// that are old.
type probeSum struct {
	start              time.Time
	runs, good, missed int64
	bytes              int64
	sent, lost         *int64
	rtt, loaded        Sketch
	down, up           Sketch
}

const day = 24 * time.Hour

// sumOf is the sum of one test.
func sumOf(r ProbeRun) probeSum {
	s := probeSum{start: r.Started.UTC().Truncate(time.Hour), runs: 1, bytes: count(r.Bytes), sent: signed(r.Sent), lost: signed(r.Lost)}
	s.units()
	if r.Word == Stopped {
		return probeSum{start: s.start, bytes: s.bytes}
	}
	if r.Success {
		s.good = 1
	}
	s.rtt.addSpread(r.RTT)
	s.loaded.addSpread(r.Loaded)
	s.down.addRate(r.Down)
	s.up.addRate(r.Up)
	return s
}

// units gives empty sketches theirs.
func (s *probeSum) units() {
	s.rtt.unit, s.loaded.unit, s.down.unit, s.up.unit = float64(timeStep), float64(timeStep), rateStep, rateStep
}

// add adds o to s.
func (s *probeSum) add(o *probeSum) {
	s.runs, s.good, s.missed, s.bytes = s.runs+o.runs, s.good+o.good, s.missed+o.missed, s.bytes+o.bytes
	s.sent, s.lost = sum(s.sent, o.sent), sum(s.lost, o.lost)
	s.rtt.merge(&o.rtt)
	s.loaded.merge(&o.loaded)
	s.down.merge(&o.down)
	s.up.merge(&o.up)
}

const sumColumns = `start, runs, good, missed, bytes, sent, lost, rtt, loaded, down, up`

func scanSum(scan func(...any) error) (*probeSum, error) {
	s := &probeSum{}
	var start int64
	var sketches [4][]byte
	if err := scan(&start, &s.runs, &s.good, &s.missed, &s.bytes, &s.sent, &s.lost, &sketches[0], &sketches[1], &sketches[2], &sketches[3]); err != nil {
		return nil, err
	}
	s.start = at(start)
	s.units()
	for n, k := range []*Sketch{&s.rtt, &s.loaded, &s.down, &s.up} {
		d, err := decodeSketch(k.unit, sketches[n])
		if err != nil {
			return nil, err
		}
		*k = *d
	}
	return s, nil
}

// addToSum adds to the sum that a probe has of that time.
func addToSum(ctx context.Context, tx *sql.Tx, probe int64, width time.Duration, more probeSum) error {
	more.units()
	row := tx.QueryRowContext(ctx, `SELECT `+sumColumns+` FROM probe_sum WHERE probe = $1 AND width = $2 AND start = $3`, probe, int64(width), ns(more.start))
	switch had, err := scanSum(row.Scan); {
	case err == nil:
		more.add(had)
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	var sketches [4][]byte
	for n, k := range []*Sketch{&more.rtt, &more.loaded, &more.down, &more.up} {
		var err error
		if sketches[n], err = k.encode(); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO probe_sum (probe, width, `+sumColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (probe, width, start) DO UPDATE SET runs = excluded.runs, good = excluded.good, missed = excluded.missed, bytes = excluded.bytes,
		sent = excluded.sent, lost = excluded.lost, rtt = excluded.rtt, loaded = excluded.loaded, down = excluded.down, up = excluded.up`,
		probe, int64(width), ns(more.start), more.runs, more.good, more.missed, more.bytes, more.sent, more.lost,
		sketches[0], sketches[1], sketches[2], sketches[3])
	return err
}

// rollUpProbes makes days of hours that began before a moment, some at a time.
func (s *Store) rollUpProbes(ctx context.Context, before time.Time) error {
	before = before.UTC().Truncate(day) // whole days
	for ctx.Err() == nil {
		var done bool
		err := s.within(ctx, "roll up probes", func(tx *sql.Tx) error {
			var probe, start int64
			err := tx.QueryRowContext(ctx, `SELECT probe, start FROM probe_sum WHERE width = $1 AND start < $2 LIMIT 1`, int64(time.Hour), ns(before)).Scan(&probe, &start)
			if done = errors.Is(err, sql.ErrNoRows); done || err != nil {
				return ignoreNoRows(err)
			}
			return rollUpDay(ctx, tx, probe, at(start).Truncate(day))
		})
		if err != nil || done {
			return err
		}
	}
	return ctx.Err()
}

func ignoreNoRows(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

func rollUpDay(ctx context.Context, tx *sql.Tx, probe int64, from time.Time) error {
	args := []any{probe, int64(time.Hour), ns(from), ns(from.Add(day))}
	rows, err := tx.QueryContext(ctx, `SELECT `+sumColumns+` FROM probe_sum WHERE probe = $1 AND width = $2 AND start >= $3 AND start < $4`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	all := probeSum{start: from}
	all.units()
	for rows.Next() {
		one, err := scanSum(rows.Scan)
		if err != nil {
			return err
		}
		all.add(one)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM probe_sum WHERE probe = $1 AND width = $2 AND start >= $3 AND start < $4`, args...); err != nil {
		return err
	}
	return addToSum(ctx, tx, probe, day, all)
}
