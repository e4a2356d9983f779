package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sonde-net/sonde/result"
)

// Retention says how long results are kept. Zero means the default, a negative
// time for ever.
type Retention struct {
	Raw      time.Duration // intervals as they came; 7 days
	Minutes  time.Duration // rolled up to a minute; 90 days
	Hours    time.Duration // rolled up to an hour; for ever
	Runs     time.Duration // runs, and with them their intervals; for ever
	Refusals time.Duration // 90 days

	ProbeRuns    time.Duration // tests of probes one by one; 7 days
	ProbeHours   time.Duration // hours of a probe, which become days; 90 days
	ProbeDays    time.Duration // days of a probe; for ever
	ProbeChanges time.Duration // changes of a probe's state; for ever
	Ring         int           // whole results of a probe, the latest ones; 500
}

const forever = -1

func (r Retention) withDefaults() Retention {
	return Retention{
		Raw:      cmp.Or(r.Raw, 7*day),
		Minutes:  cmp.Or(r.Minutes, 90*day),
		Hours:    cmp.Or(r.Hours, forever),
		Runs:     cmp.Or(r.Runs, forever),
		Refusals: cmp.Or(r.Refusals, 90*day),

		ProbeRuns:    cmp.Or(r.ProbeRuns, 7*day),
		ProbeHours:   cmp.Or(r.ProbeHours, 90*day),
		ProbeDays:    cmp.Or(r.ProbeDays, forever),
		ProbeChanges: cmp.Or(r.ProbeChanges, forever),
		Ring:         cmp.Or(max(0, r.Ring), DefaultRing),
	}
}

// rollEvery is how often Keep looks for what is old, and step how many runs one
// transaction rolls up: others wait for it.
const (
	rollEvery = 10 * time.Minute
	step      = 50
	// A clock that has run away from the monotonic one was set; then nothing is
	// dropped until the server starts anew, since that may have been a mistake.
	steppedBy = time.Hour
)

// Keep rolls up and drops what is old, and reaps leases, until ctx ends.
func (s *Store) Keep(ctx context.Context) {
	ticker := time.NewTicker(rollEvery)
	defer ticker.Stop()
	start := time.Now()
	for ctx.Err() == nil {
		now := time.Now()
		ran := now.Sub(start)
		if wall := now.Round(0).Sub(start.Round(0)); wall-ran > steppedBy {
			s.log.Warn("the clock was set forward: old results and usage are kept until the server starts anew", "by", (wall - ran).Round(time.Second))
		} else if err := s.Age(ctx, now); err != nil && ctx.Err() == nil {
			s.log.Warn("old results are not rolled up", "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// Age rolls up and drops, once, what is old at now.
func (s *Store) Age(ctx context.Context, now time.Time) error {
	if err := s.age(ctx, now); err != nil {
		return err
	}
	if _, err := s.Reap(ctx, now); err != nil {
		return err
	}
	for _, roll := range []struct {
		from, to time.Duration
		after    time.Duration
	}{
		{second, time.Minute, s.keep.Raw},
		{time.Minute, time.Hour, s.keep.Minutes},
	} {
		if roll.after < 0 {
			break
		}
		if err := s.rollUp(ctx, roll.from, roll.to, now.Add(-roll.after)); err != nil {
			return err
		}
	}
	if s.keep.ProbeHours >= 0 {
		if err := s.rollUpProbes(ctx, now.Add(-s.keep.ProbeHours)); err != nil {
			return err
		}
	}
	for _, drop := range []struct {
		sql  string
		args []any
		keep time.Duration
	}{
		{`DELETE FROM run_interval WHERE width = $2 AND at < $1`, []any{int64(time.Hour)}, s.keep.Hours},
		{`DELETE FROM run WHERE started < $1`, nil, s.keep.Runs},
		{`DELETE FROM refusal WHERE at < $1`, nil, s.keep.Refusals},
		{`DELETE FROM probe_run WHERE started < $1`, nil, s.keep.ProbeRuns},
		{`DELETE FROM probe_missed WHERE at < $1`, nil, s.keep.ProbeRuns},
		{`DELETE FROM probe_sum WHERE width = $2 AND start < $1`, []any{int64(day)}, s.keep.ProbeDays},
		{`DELETE FROM probe_change WHERE at < $1`, nil, s.keep.ProbeChanges},
	} {
		if drop.keep < 0 {
			continue
		}
		err := s.within(ctx, "drop old results", func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, drop.sql, append([]any{ns(now.Add(-drop.keep))}, drop.args...)...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rollUp makes intervals that ended before a moment into wider ones, some runs
// at a time.
func (s *Store) rollUp(ctx context.Context, from, to time.Duration, before time.Time) error {
	for ctx.Err() == nil {
		runs, err := s.oldRuns(ctx, from, before)
		if err != nil || len(runs) == 0 {
			return err
		}
		err = s.within(ctx, "roll up intervals", func(tx *sql.Tx) error {
			for _, run := range runs {
				if err := rollUpRun(ctx, tx, run, from, to, before); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// oldRuns are some runs with intervals of a width that ended before a moment.
func (s *Store) oldRuns(ctx context.Context, width time.Duration, before time.Time) ([]int64, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT DISTINCT run FROM (SELECT run FROM run_interval WHERE width = $1 AND at < $2 LIMIT 5000) AS old LIMIT $3`,
		int64(width), ns(before), step)
	if err != nil {
		return nil, s.explain("read old intervals", err)
	}
	defer rows.Close()
	var runs []int64
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, s.explain("read old intervals", err)
		}
		runs = append(runs, n)
	}
	return runs, s.explain("read old intervals", rows.Err())
}

type slot struct {
	start     time.Duration
	direction result.Direction
}

func rollUpRun(ctx context.Context, tx *sql.Tx, run int64, from, to time.Duration, before time.Time) error {
	rows, err := tx.QueryContext(ctx, `SELECT width, start, direction, length, bytes, packets, lost, rate_min, rate_max, rates, rtt_mean, rtt_max,
		cpu_local, cpu_remote, at FROM run_interval WHERE run = $1 AND (width = $2 AND at < $3 OR width = $4) ORDER BY start`,
		run, int64(from), ns(before), int64(to))
	if err != nil {
		return err
	}
	defer rows.Close()
	merged := map[slot]*merge{}
	for rows.Next() {
		i, err := scanInterval(rows)
		if err != nil {
			return err
		}
		key := slot{i.Start.Truncate(to), i.Direction}
		if merged[key] == nil {
			merged[key] = newMerge()
		}
		if err := merged[key].add(i); err != nil {
			return err
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM run_interval WHERE run = $1 AND (width = $2 AND at < $3 OR width = $4)`,
		run, int64(from), ns(before), int64(to)); err != nil {
		return err
	}
	for key, m := range merged {
		if err := m.write(ctx, tx, run, to, key); err != nil {
			return err
		}
	}
	return nil
}

// A merge is several intervals made into one. Sums and bounds stay exact; the
// rates become a distribution.
type merge struct {
	Interval
	rates    *hdrhistogram.Histogram
	rttTime  time.Duration // that rttSum is weighed by
	rttSum   float64
	cpu      [2]float64
	cpuTime  [2]time.Duration
	anyRates bool
}

// newHistogram holds rates in kbit/s, up to 10 Tbit/s, to one percent.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, mostSteps, 2) }

const mostSteps = 1e10

func newMerge() *merge { return &merge{rates: newHistogram()} }

func (m *merge) add(i Interval) error {
	m.Length += i.Length
	if i.Time.After(m.Time) {
		m.Time = i.Time
	}
	m.Bytes, m.Packets = sum(m.Bytes, i.Bytes), sum(m.Packets, i.Packets)
	m.Lost = sum(m.Lost, i.Lost)
	m.RateMin, m.RateMax = pick(m.RateMin, i.RateMin, less), pick(m.RateMax, i.RateMax, more)
	if i.RTTMax != nil {
		m.RTTMax = pick(m.RTTMax, i.RTTMax, more)
	}
	if i.RTTMean != nil {
		m.rttSum += float64(*i.RTTMean) * i.Length.Seconds()
		m.rttTime += i.Length
	}
	for n, v := range []*float64{i.CPU.Local, i.CPU.Remote} {
		if v != nil {
			m.cpu[n] += *v * i.Length.Seconds()
			m.cpuTime[n] += i.Length
		}
	}
	switch {
	case i.Rates != nil:
		h, err := hdrhistogram.Decode(i.Rates)
		if err != nil {
			return err
		}
		m.rates.Merge(h)
		m.anyRates = true
	case i.RateMin != nil:
		m.anyRates = true
		return m.rates.RecordValue(int64(min(max(1, *i.RateMin/1000), 1e10)))
	}
	return nil
}

func (m *merge) write(ctx context.Context, tx *sql.Tx, run int64, width time.Duration, key slot) error {
	var sketch []byte
	if m.anyRates {
		var err error
		if sketch, err = m.rates.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err != nil {
			return err
		}
	}
	var rtt *int64
	if m.rttTime > 0 {
		rtt = new(int64(m.rttSum / m.rttTime.Seconds()))
	}
	var cpu [2]*float64
	for n := range cpu {
		if m.cpuTime[n] > 0 {
			cpu[n] = new(m.cpu[n] / m.cpuTime[n].Seconds())
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO run_interval (run, width, start, direction, length, bytes, packets, lost, rate_min, rate_max, rates,
		rtt_mean, rtt_max, cpu_local, cpu_remote, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
		run, int64(width), int64(key.start), int64(key.direction), int64(m.Length), signed(m.Bytes), signed(m.Packets), m.Lost,
		signed(m.RateMin), signed(m.RateMax), sketch, rtt, (*int64)(m.RTTMax), cpu[0], cpu[1], ns(m.Time))
	return err
}

func sum[T int64 | uint64](a, b *T) *T {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return new(*a + *b)
}

func less[T cmp.Ordered](a, b T) bool { return a < b }
func more[T cmp.Ordered](a, b T) bool { return a > b }

// pick is the better of two figures, or the one that is known.
func pick[T any](a, b *T, better func(a, b T) bool) *T {
	if a == nil || b != nil && better(*b, *a) {
		return b
	}
	return a
}

// Quantiles are those of the rates of the seconds in an interval, bit/s, to one
// percent; false where they are not known.
func (i Interval) Quantiles(percent ...float64) ([]uint64, bool) {
	if i.Rates == nil {
		return nil, false
	}
	h, err := hdrhistogram.Decode(i.Rates)
	if err != nil || h.TotalCount() == 0 {
		return nil, false
	}
	all := make([]uint64, len(percent))
	for n, p := range percent {
		all[n] = uint64(h.ValueAtQuantile(p)) * 1000
	}
	return all, true
}
