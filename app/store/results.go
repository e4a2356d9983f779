package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
)

// second is the width under which intervals are kept as they come.
const second = time.Second

// longestText is how much of a text from outside is kept.
const longestText = 500

// text is s as every engine takes it: valid UTF-8 without NUL, not too long.
func text(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "�"), "�")
	for len(s) > longestText {
		_, n := utf8.DecodeLastRuneInString(s[:longestText+1])
		s = s[:longestText+1-n]
	}
	return s
}

// writeEntries writes events and refusals in one transaction. To write the same
// again changes nothing, except that a refusal would be there twice.
func (s *Store) writeEntries(ctx context.Context, entries []any) error {
	return s.within(ctx, "write results", func(tx *sql.Tx) error {
		for _, v := range entries {
			if err := s.writeEntry(ctx, tx, v); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) writeEntry(ctx context.Context, tx *sql.Tx, v any) error {
	switch v := v.(type) {
	case result.Begin:
		return writeBegin(ctx, tx, v)
	case result.Interval:
		return writeInterval(ctx, tx, v)
	case result.End:
		return writeEnd(ctx, tx, v)
	case Refusal:
		return writeRefusal(ctx, tx, v)
	case ProbeRun:
		return s.writeProbeRun(ctx, tx, v)
	case ProbeMissed:
		return writeProbeMissed(ctx, tx, v)
	case ProbeChange:
		return writeProbeChange(ctx, tx, v)
	}
	return nil
}

func writeBegin(ctx context.Context, tx *sql.Tx, b result.Begin) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO run (id, protocol, role, transport, direction, account, login, address, port, target, streams, started, reason, error)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '', '') ON CONFLICT (id) DO NOTHING`,
		string(b.Run), b.Protocol, string(b.Role), string(b.Transport), int64(b.Direction), text(b.Account), b.Login,
		address(b), int64(b.Peer.Port()), text(b.Target), int64(b.Streams), ns(b.Time))
	return err
}

func address(b result.Begin) string {
	if !b.Peer.IsValid() {
		return ""
	}
	return b.Peer.Addr().Unmap().WithZone("").String()
}

// writeInterval keeps the sum of all streams of one direction.
func writeInterval(ctx context.Context, tx *sql.Tx, i result.Interval) error {
	v := i.Local()
	if i.Stream != result.AllStreams || v == nil {
		return nil
	}
	length := i.End - i.Start
	var rttMean, rttMax *int64
	if i.RTT != nil {
		rttMean, rttMax = new(int64(i.RTT.Mean)), new(int64(i.RTT.Max))
	}
	rate := signed(result.Rate(v.Bytes, length))
	_, err := tx.ExecContext(ctx, `INSERT INTO run_interval (run, width, start, direction, length, bytes, packets, lost, rate_min, rate_max,
		rtt_mean, rtt_max, cpu_local, cpu_remote, at)
		SELECT num, CAST($1 AS BIGINT), CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS BIGINT), CAST($6 AS BIGINT),
		CAST($7 AS BIGINT), CAST($8 AS BIGINT), CAST($8 AS BIGINT), CAST($9 AS BIGINT), CAST($10 AS BIGINT),
		CAST($11 AS DOUBLE PRECISION), CAST($12 AS DOUBLE PRECISION), CAST($13 AS BIGINT) FROM run WHERE id = $14
		ON CONFLICT (run, width, start, direction) DO NOTHING`,
		int64(second), int64(i.Start), int64(i.Direction), int64(length), count(v.Bytes), signed(v.Packets),
		v.Lost, rate, rttMean, rttMax, i.CPU.Local, i.CPU.Remote, ns(i.Time), string(i.Run))
	return err
}

// signed is a figure for the database.
func signed(n *uint64) *int64 {
	if n == nil {
		return nil
	}
	return new(count(*n))
}

func writeEnd(ctx context.Context, tx *sql.Tx, e result.End) error {
	in, out, lost := moved(e)
	fault := ""
	if e.Err != nil {
		fault = e.Err.Error()
	}
	_, err := tx.ExecContext(ctx, `UPDATE run SET ended = $1, elapsed = $2, bytes_in = $3, bytes_out = $4, lost = $5, cpu_local = $6, cpu_remote = $7,
		reason = $8, error = $9 WHERE id = $10`,
		ns(e.Time), int64(e.Elapsed), in, out, lost, e.CPU.Local, e.CPU.Remote, cmp.Or(e.Reason, result.CodeOf(e.Err)), text(fault), string(e.Run))
	return err
}

// moved is what our end received and sent, whichever end that is, and what got
// lost on both ways as far as somebody knows. Of a server it is what its quotas
// counted.
func moved(e result.End) (in, out, lost *int64) {
	if m := e.Moved; m != nil {
		defer func() {
			if in != nil || m.Received > 0 {
				in = new(count(m.Received))
			}
			if out != nil || m.Sent > 0 {
				out = new(count(m.Sent))
			}
		}()
	}
	for _, d := range result.Both.Each() {
		v := e.Local(d)
		if v == nil {
			continue
		}
		if (d == result.Down) == (e.Role == result.Server || e.Role == result.Reflector) {
			out = new(count(v.Bytes))
		} else {
			in = new(count(v.Bytes))
		}
		if t := e.Total(d); t.Received != nil && t.Received.Lost != nil {
			sum := *t.Received.Lost
			if lost != nil {
				sum += *lost
			}
			lost = &sum
		}
	}
	return in, out, lost
}

// A Refusal is a test, a connection or a login that was not admitted.
type Refusal struct {
	Num      int64 // given by the store
	Time     time.Time
	Protocol string
	Account  string
	Address  string
	Word     string // such as "user_daily_quota_exceeded"
	Text     string
	Used     *uint64 // bytes, of a quota
	Limit    *uint64
	Until    time.Time // when it may work again; zero when not known
}

// RefusalOf makes a Refusal of an error that a Policy returned.
func RefusalOf(r admit.Request, now time.Time, err error) Refusal {
	f := Refusal{Time: now, Protocol: r.Protocol, Account: r.Account, Word: result.CodeOf(err), Text: err.Error()}
	if r.Peer.IsValid() {
		f.Address = r.Peer.Unmap().WithZone("").String()
	}
	if e, ok := errors.AsType[*admit.RefusedError](err); ok {
		f.Text, f.Until = e.Text, e.Until
	}
	return f
}

func writeRefusal(ctx context.Context, tx *sql.Tx, r Refusal) error {
	var until *int64
	if !r.Until.IsZero() {
		until = new(ns(r.Until))
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO refusal (at, protocol, account, address, word, text, used, cap, until)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		ns(r.Time), r.Protocol, text(r.Account), r.Address, text(r.Word), text(r.Text), signed(r.Used), signed(r.Limit), until)
	return err
}

// EndLost gives an end to runs that have none because their server died: those
// of before a moment. The reason says so.
func (s *Store) EndLost(ctx context.Context, before time.Time) (int, error) {
	var n int64
	err := s.within(ctx, "end lost runs", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE run SET ended = COALESCE((SELECT MAX(at) FROM run_interval WHERE run = num), started), reason = 'server_lost'
			WHERE ended IS NULL AND started < $1`, ns(before))
		if err != nil {
			return err
		}
		n, err = r.RowsAffected()
		return err
	})
	return int(n), err
}

var errNotFound = fmt.Errorf("not found: %w", sql.ErrNoRows)

// IsNotFound reports whether there is no such thing in the store.
func IsNotFound(err error) bool { return errors.Is(err, sql.ErrNoRows) }
