package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Pruned is what was dropped, or would be.
type Pruned struct {
	Runs     int // tests of servers, with their intervals
	Refusals int
	Probes   int // tests of probes one by one
	Hours    int // and their hours and days
	Missed   int
	Changes  int
}

// errDry undoes what was counted.
var errDry = errors.New("nothing was to be dropped")

// Prune drops results of before a moment: of one probe, or with "" of everything
// that is kept. What users and addresses have used stays. A dry one only counts.
func (s *Store) Prune(ctx context.Context, before time.Time, probe string, dry bool) (Pruned, error) {
	var p Pruned
	err := s.within(ctx, "drop results", func(tx *sql.Tx) error {
		p = Pruned{}
		for _, drop := range []struct {
			n     *int
			table string
			old   string
		}{
			{&p.Runs, "run", "started < $1 AND ended IS NOT NULL"},
			{&p.Refusals, "refusal", "at < $1"},
			{&p.Probes, "probe_run", "started < $1"},
			{&p.Hours, "probe_sum", "start + width <= $1"},
			{&p.Missed, "probe_missed", "at < $1"},
			{&p.Changes, "probe_change", "at < $1"},
		} {
			ofProbe := drop.n != &p.Runs && drop.n != &p.Refusals
			sql, args := `DELETE FROM `+drop.table+` WHERE `+drop.old, []any{ns(before)}
			if probe != "" {
				if !ofProbe {
					continue
				}
				sql, args = sql+` AND probe = (SELECT num FROM probe WHERE name = $2)`, append(args, text(probe))
			}
			r, err := tx.ExecContext(ctx, sql, args...)
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			if err != nil {
				return err
			}
			*drop.n = int(n)
		}
		// A probe of which nothing is left is forgotten; one that runs comes back.
		if _, err := tx.ExecContext(ctx, `DELETE FROM probe WHERE NOT EXISTS (SELECT 1 FROM probe_run r WHERE r.probe = probe.num)
			AND NOT EXISTS (SELECT 1 FROM probe_sum s WHERE s.probe = probe.num)`); err != nil {
			return err
		}
		if dry {
			return answer{errDry}
		}
		return nil
	})
	if errors.Is(err, errDry) {
		err = nil
	}
	return p, err
}

// EachProbeRun calls each with the tests of probes that f chooses, oldest first,
// without their Documents. Of f Before and Limit do not matter.
func (s *Store) EachProbeRun(ctx context.Context, f ProbeFilter, each func(ProbeRun) error) error {
	f.Before = 0
	c := f.conditions("started")
	var failed error
	err := s.eachProbeRun(ctx, c.where()+` ORDER BY r.started, r.num`, c.args, func(r ProbeRun) {
		if failed == nil {
			failed = each(r)
		}
	})
	return errors.Join(failed, err)
}

// EachRun calls each with the runs that f chooses, oldest first. Of f Before and
// Limit do not matter.
func (s *Store) EachRun(ctx context.Context, f Filter, each func(Run) error) error {
	f.Before = 0
	c := f.conditions()
	rows, err := s.read.QueryContext(ctx, `SELECT `+runColumns+` FROM run`+c.where()+` ORDER BY started, num`, c.args...)
	if err != nil {
		return s.explain("read runs", err)
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanRun(rows)
		if err != nil {
			return s.explain("read runs", err)
		}
		if err := each(r); err != nil {
			return err
		}
	}
	return s.explain("read runs", rows.Err())
}
