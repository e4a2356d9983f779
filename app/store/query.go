package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A Run is one test. What was not measured is nil; Ended is zero while it runs.
type Run struct {
	Num       int64 // short name for pages; unique in the store
	ID        result.ID
	Protocol  string
	Role      result.Role
	Transport result.Transport
	Direction result.Direction
	Account   string
	Login     string
	Address   string
	Port      uint16
	Target    string
	Streams   int
	Started   time.Time
	Ended     time.Time
	Elapsed   *time.Duration
	In, Out   *uint64 // payload that our end received and sent
	Lost      *int64
	CPU       result.CPU
	Reason    string
	Error     string
}

// A Filter chooses runs. What is empty or zero chooses all.
type Filter struct {
	Num      int64
	ID       result.ID
	Account  string
	Address  string
	Protocol string
	From, To time.Time // started at or after, and before
	Before   int64     // Num: for the next page
	Limit    int       // 0 means 100
}

// conditions builds a WHERE of $ placeholders.
type conditions struct {
	all  []string
	args []any
}

func (c *conditions) add(sql string, v any) {
	c.args = append(c.args, v)
	c.all = append(c.all, fmt.Sprintf(sql, len(c.args)))
}

func (c *conditions) where() string {
	if len(c.all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.all, " AND ")
}

func (f Filter) conditions() *conditions {
	c := &conditions{}
	if f.Num != 0 {
		c.add("num = $%d", f.Num)
	}
	if f.ID != "" {
		c.add("id = $%d", text(string(f.ID)))
	}
	if f.Account != "" {
		c.add("account = $%d", text(f.Account))
	}
	if f.Address != "" {
		c.add("address = $%d", text(f.Address))
	}
	if f.Protocol != "" {
		c.add("protocol = $%d", text(f.Protocol))
	}
	if !f.From.IsZero() {
		c.add("started >= $%d", ns(f.From))
	}
	if !f.To.IsZero() {
		c.add("started < $%d", ns(f.To))
	}
	if f.Before != 0 {
		c.add("num < $%d", f.Before)
	}
	return c
}

const runColumns = `num, id, protocol, role, transport, direction, account, login, address, port, target, streams, started,
	ended, elapsed, bytes_in, bytes_out, lost, cpu_local, cpu_remote, reason, error`

// Runs returns the runs that f chooses, newest first.
func (s *Store) Runs(ctx context.Context, f Filter) ([]Run, error) {
	c := f.conditions()
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	c.args = append(c.args, limit)
	// By num within one address: num grows with started.
	rows, err := s.read.QueryContext(ctx, `SELECT `+runColumns+` FROM run`+c.where()+
		fmt.Sprintf(` ORDER BY started DESC, num DESC LIMIT $%d`, len(c.args)), c.args...)
	if err != nil {
		return nil, s.explain("read runs", err)
	}
	defer rows.Close()
	var all []Run
	for rows.Next() {
		r, err := scanRun(rows)
		if err != nil {
			return nil, s.explain("read runs", err)
		}
		all = append(all, r)
	}
	return all, s.explain("read runs", rows.Err())
}

func scanRun(rows *sql.Rows) (Run, error) {
	var r Run
	var started int64
	var direction, port, streams int64
	var ended, elapsed, in, out *int64
	err := rows.Scan(&r.Num, &r.ID, &r.Protocol, &r.Role, &r.Transport, &direction, &r.Account, &r.Login, &r.Address, &port, &r.Target, &streams,
		&started, &ended, &elapsed, &in, &out, &r.Lost, &r.CPU.Local, &r.CPU.Remote, &r.Reason, &r.Error)
	r.Direction, r.Port, r.Streams, r.Started = result.Direction(direction), uint16(port), int(streams), at(started)
	if ended != nil {
		r.Ended = at(*ended)
	}
	if elapsed != nil {
		r.Elapsed = new(time.Duration(*elapsed))
	}
	r.In, r.Out = unsigned(in), unsigned(out)
	return r, err
}

func unsigned(n *int64) *uint64 {
	if n == nil {
		return nil
	}
	return new(uint64(max(0, *n)))
}

// Run returns one run by its number. See IsNotFound.
func (s *Store) Run(ctx context.Context, num int64) (Run, error) {
	if num == 0 {
		return Run{}, errNotFound
	}
	return one(s.Runs(ctx, Filter{Num: num, Limit: 1}))
}

// RunByID returns one run by its ID. See IsNotFound.
func (s *Store) RunByID(ctx context.Context, id result.ID) (Run, error) {
	if id == "" {
		return Run{}, errNotFound
	}
	return one(s.Runs(ctx, Filter{ID: id, Limit: 1}))
}

func one(runs []Run, err error) (Run, error) {
	if err == nil && len(runs) == 0 {
		err = errNotFound
	}
	if err != nil {
		return Run{}, err
	}
	return runs[0], nil
}

// An Interval is a part of a run: about a second, or a minute or an hour of one
// that is older. See Retention.
type Interval struct {
	Width            time.Duration // time.Second, time.Minute or time.Hour
	Start            time.Duration // since the first data of the run
	Length           time.Duration
	Direction        result.Direction
	Bytes            *uint64 // payload, as our end counted
	Packets          *uint64
	Lost             *int64
	RateMin, RateMax *uint64 // bit/s, of the seconds in it
	Rates            []byte  // their distribution, see Quantiles; nil for a second
	RTTMean, RTTMax  *time.Duration
	CPU              result.CPU
	Time             time.Time // of its end
}

// Intervals returns the intervals of a run in order, the finest that are kept of
// each part of it.
func (s *Store) Intervals(ctx context.Context, run int64) ([]Interval, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT width, start, direction, length, bytes, packets, lost, rate_min, rate_max, rates, rtt_mean, rtt_max,
		cpu_local, cpu_remote, at FROM run_interval WHERE run = $1 ORDER BY start, direction`, run)
	if err != nil {
		return nil, s.explain("read intervals", err)
	}
	defer rows.Close()
	var all []Interval
	for rows.Next() {
		i, err := scanInterval(rows)
		if err != nil {
			return nil, s.explain("read intervals", err)
		}
		all = append(all, i)
	}
	return all, s.explain("read intervals", rows.Err())
}

func scanInterval(rows *sql.Rows) (Interval, error) {
	var i Interval
	var direction, ended int64
	var bytes, packets, low, high *int64
	err := rows.Scan(&i.Width, &i.Start, &direction, &i.Length, &bytes, &packets, &i.Lost, &low, &high, &i.Rates, &i.RTTMean, &i.RTTMax,
		&i.CPU.Local, &i.CPU.Remote, &ended)
	i.Direction, i.Time = result.Direction(direction), at(ended)
	i.Bytes, i.Packets, i.RateMin, i.RateMax = unsigned(bytes), unsigned(packets), unsigned(low), unsigned(high)
	return i, err
}

// Totals are sums over runs.
type Totals struct {
	Runs    int
	In, Out uint64        // payload that our end received and sent
	InTime  time.Duration // of the runs that had some
	OutTime time.Duration
}

// Totals sums up the runs that f chooses and that have ended; its Limit and
// Before do not matter.
func (s *Store) Totals(ctx context.Context, f Filter) (Totals, error) {
	f.Before = 0
	c := f.conditions()
	var t Totals
	err := s.read.QueryRowContext(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(bytes_in), 0) AS BIGINT), CAST(COALESCE(SUM(bytes_out), 0) AS BIGINT),
		CAST(COALESCE(SUM(CASE WHEN bytes_in > 0 THEN elapsed END), 0) AS BIGINT), CAST(COALESCE(SUM(CASE WHEN bytes_out > 0 THEN elapsed END), 0) AS BIGINT)
		FROM run`+c.where(), c.args...).Scan(&t.Runs, &t.In, &t.Out, &t.InTime, &t.OutTime)
	return t, s.explain("sum up runs", err)
}

// Refusals returns refusals, newest first. Of f only Account, Address, Protocol,
// From, To, Before and Limit matter.
func (s *Store) Refusals(ctx context.Context, f Filter) ([]Refusal, error) {
	f.Num, f.ID = 0, ""
	c := f.conditions()
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	c.args = append(c.args, limit)
	where := strings.ReplaceAll(c.where(), "started", "at")
	rows, err := s.read.QueryContext(ctx, `SELECT num, at, protocol, account, address, word, text, used, cap, until FROM refusal`+where+
		fmt.Sprintf(` ORDER BY at DESC, num DESC LIMIT $%d`, len(c.args)), c.args...)
	if err != nil {
		return nil, s.explain("read refusals", err)
	}
	defer rows.Close()
	var all []Refusal
	for rows.Next() {
		var r Refusal
		var when int64
		var used, limit, until *int64
		if err := rows.Scan(&r.Num, &when, &r.Protocol, &r.Account, &r.Address, &r.Word, &r.Text, &used, &limit, &until); err != nil {
			return nil, s.explain("read refusals", err)
		}
		r.Time, r.Used, r.Limit = at(when), unsigned(used), unsigned(limit)
		if until != nil {
			r.Until = at(*until)
		}
		all = append(all, r)
	}
	return all, s.explain("read refusals", rows.Err())
}
