package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/account"
)

// Widths of the buckets in which use is counted. A bucket counts until its end
// has left the window, so a rolling window is exact to one of them: a minute for
// a day, a quarter of an hour beyond. All time zones of today lie whole quarters
// apart, so calendar periods are exact.
const (
	minute  = time.Minute
	quarter = 15 * time.Minute

	fineFor   = 25 * time.Hour      // minutes are kept, then made into quarters
	coarseFor = 45 * 24 * time.Hour // quarters are kept: longer than any period
	leaseFor  = 24 * time.Hour      // an ended lease is remembered, so that a late repeat counts once
)

// Renew takes a step of several leases in one transaction: books what was moved
// under each, and grants what its caps allow. All or none of them are taken. To
// ask the same again is safe.
func (s *Store) Renew(ctx context.Context, now time.Time, asks []account.Ask) ([]account.Answer, error) {
	// In one order for all servers, so that none waits for each other.
	order := make([]int, len(asks))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(strings.Compare(asks[a].Subject, asks[b].Subject), strings.Compare(asks[a].Lease, asks[b].Lease))
	})
	answers := make([]account.Answer, len(asks))
	err := s.within(ctx, "renew a lease", func(tx *sql.Tx) error {
		for _, i := range order {
			var err error
			if answers[i], err = renew(ctx, tx, now, asks[i]); err != nil {
				return fmt.Errorf("%s: %w", asks[i].Subject, err)
			}
		}
		return nil
	})
	return answers, err
}

func renew(ctx context.Context, tx *sql.Tx, now time.Time, a account.Ask) (account.Answer, error) {
	if err := takeTurn(ctx, tx, a.Subject); err != nil {
		return account.Answer{}, err
	}
	if err := book(ctx, tx, now, a); err != nil {
		return account.Answer{}, err
	}
	uses, err := used(ctx, tx, a.Subject, sinces(a.Caps))
	if err != nil {
		return account.Answer{}, err
	}
	held, err := heldByOthers(ctx, tx, now, a)
	if err != nil {
		return account.Answer{}, err
	}
	answer := grant(a, uses, held)
	if a.Want == (account.Slice{}) && a.In == 0 && a.Out == 0 {
		// Nothing was moved under it, so there is nothing to count twice.
		_, err = tx.ExecContext(ctx, `DELETE FROM lease WHERE id = $1`, a.Lease)
		return answer, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE lease SET hold_both = $1, hold_in = $2, hold_out = $3 WHERE id = $4`,
		hold(answer.Have[account.Both]), hold(answer.Have[account.In]), hold(answer.Have[account.Out]), a.Lease)
	return answer, err
}

// hold is what the books say of n bytes in hand: nothing where no cap counts
// them.
func hold(n uint64) int64 {
	if n >= account.Unlimited {
		return 0
	}
	return int64(n)
}

// takeTurn waits until this transaction alone has the subject's books, in any
// server.
func takeTurn(ctx context.Context, tx *sql.Tx, subject string) error {
	var turn int64
	return tx.QueryRowContext(ctx, `INSERT INTO usage_turn (subject, turn) VALUES ($1, 1)
		ON CONFLICT (subject) DO UPDATE SET turn = usage_turn.turn + 1 RETURNING turn`, subject).Scan(&turn)
}

// book counts what was moved under a lease since it was last heard of. What a
// sender gave back may make that less than before: then nothing is booked until it
// has caught up, or until the lease is given back, which says what it came to.
func book(ctx context.Context, tx *sql.Tx, now time.Time, a account.Ask) error {
	var in, out int64
	err := tx.QueryRowContext(ctx, `SELECT bytes_in, bytes_out FROM lease WHERE id = $1`, a.Lease).Scan(&in, &out)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	toIn, toOut := count(a.In), count(a.Out)
	if a.Want != (account.Slice{}) {
		toIn, toOut = max(in, toIn), max(out, toOut)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO lease (id, subject, server, bytes_in, bytes_out, hold_both, hold_in, hold_out, expires)
		VALUES ($1, $2, $3, $4, $5, 0, 0, 0, $6)
		ON CONFLICT (id) DO UPDATE SET bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out, expires = excluded.expires`,
		a.Lease, a.Subject, a.Server, toIn, toOut, ns(a.Expires))
	if err != nil || toIn == in && toOut == out {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO usage (subject, width, start, bytes_in, bytes_out) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (subject, width, start) DO UPDATE SET
		bytes_in = usage.bytes_in + excluded.bytes_in, bytes_out = usage.bytes_out + excluded.bytes_out`,
		a.Subject, int64(minute), ns(now.Truncate(minute)), toIn-in, toOut-out)
	return err
}

// sinces are the moments of caps.
func sinces(caps []account.Cap) []time.Time {
	all := make([]time.Time, len(caps))
	for i, c := range caps {
		all[i] = c.Since
	}
	return all
}

// A querier is a pool or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// used is what a subject moved since each of the moments. It is always summed
// up, and never kept as a number of its own that could drift or be reset. What
// lies in the future, because a clock was set back, counts as well.
func used(ctx context.Context, q querier, subject string, since []time.Time) ([]account.Use, error) {
	uses := make([]account.Use, len(since))
	if len(since) == 0 {
		return uses, nil
	}
	first := slices.MinFunc(since, time.Time.Compare)
	var b strings.Builder
	args := []any{subject, int64(minute), int64(quarter), ns(first) - int64(minute), ns(first) - int64(quarter)}
	sums := make([]int64, 2*len(since))
	into := make([]any, 0, len(sums))
	for i, t := range since {
		if i > 0 {
			b.WriteString(", ")
		}
		args = append(args, ns(t))
		for j, column := range []string{"bytes_in", "bytes_out"} {
			if j > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "CAST(COALESCE(SUM(CASE WHEN start + width > $%d THEN %s ELSE 0 END), 0) AS BIGINT)", len(args), column)
		}
		into = append(into, &sums[2*i], &sums[2*i+1])
	}
	err := q.QueryRowContext(ctx, `SELECT `+b.String()+` FROM usage
		WHERE subject = $1 AND (width = $2 AND start > $4 OR width = $3 AND start > $5)`, args...).Scan(into...)
	for i := range uses { // what was given back may have been moved before the moment
		uses[i] = account.Use{In: uint64(max(0, sums[2*i])), Out: uint64(max(0, sums[2*i+1]))}
	}
	return uses, err
}

// heldByOthers is what other leases of the subject have in hand. An expired one
// has nothing any more, whether or not it was reaped.
func heldByOthers(ctx context.Context, tx *sql.Tx, now time.Time, a account.Ask) (held account.Slice, err error) {
	err = tx.QueryRowContext(ctx, `SELECT CAST(COALESCE(SUM(hold_both), 0) AS BIGINT), CAST(COALESCE(SUM(hold_in), 0) AS BIGINT),
		CAST(COALESCE(SUM(hold_out), 0) AS BIGINT) FROM lease WHERE subject = $1 AND expires > $2 AND id <> $3`,
		a.Subject, ns(now), a.Lease).Scan(&held[account.Both], &held[account.In], &held[account.Out])
	return held, err
}

// grant is how much of what was wanted the caps leave.
func grant(a account.Ask, uses []account.Use, held account.Slice) account.Answer {
	answer := account.Answer{Have: a.Want, Used: make([]uint64, len(a.Caps)), Held: make([]uint64, len(a.Caps))}
	for f := range answer.Tight {
		answer.Tight[f] = -1
	}
	for i, c := range a.Caps {
		answer.Used[i], answer.Held[i] = uses[i].Of(c.Flow), held[c.Flow]
		var free uint64
		if taken := answer.Used[i] + answer.Held[i]; taken < c.Limit {
			free = c.Limit - taken
		}
		if free < answer.Have[c.Flow] {
			answer.Have[c.Flow], answer.Tight[c.Flow] = free, i
		}
	}
	return answer
}

// Usage is what a subject moved since each of the moments, as far as it was
// booked: what is under way comes within a second.
func (s *Store) Usage(ctx context.Context, subject account.Subject, since ...time.Time) ([]account.Use, error) {
	uses, err := used(ctx, s.read, subject.Key(), since)
	return uses, s.explain("read usage", err)
}

// Frees is when so many bytes of use within a rolling window will have left it,
// if nothing is added: zero when they never do.
func (s *Store) Frees(ctx context.Context, now time.Time, subject account.Subject, w account.Window, bytes uint64) (time.Time, error) {
	since := now.Add(-w.Period.Length())
	rows, err := s.read.QueryContext(ctx, `SELECT start + width, bytes_in, bytes_out FROM usage
		WHERE subject = $1 AND start + width > $2 ORDER BY 1`, subject.Key(), ns(since))
	if err != nil {
		return time.Time{}, s.explain("read usage", err)
	}
	defer rows.Close()
	var gone int64
	for rows.Next() {
		var end, in, out int64
		if err := rows.Scan(&end, &in, &out); err != nil {
			return time.Time{}, s.explain("read usage", err)
		}
		switch w.Flow {
		case account.Both:
			gone += in + out
		case account.In:
			gone += in
		case account.Out:
			gone += out
		}
		if gone >= count(bytes) {
			return at(end).Add(w.Period.Length()), nil
		}
	}
	return time.Time{}, s.explain("read usage", rows.Err())
}

// Reset forgets what a subject has used.
func (s *Store) Reset(ctx context.Context, subject account.Subject) error {
	return s.within(ctx, "reset usage", func(tx *sql.Tx) error {
		if err := takeTurn(ctx, tx, subject.Key()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM usage WHERE subject = $1`, subject.Key())
		return err
	})
}

// Reap takes back what expired leases have in hand, and returns of how many. No
// quota waits for it, since expired leases do not count: it keeps the table small
// and tells the operator that a server died.
func (s *Store) Reap(ctx context.Context, now time.Time) (int, error) {
	var reaped int64
	err := s.within(ctx, "reap leases", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE lease SET hold_both = 0, hold_in = 0, hold_out = 0
			WHERE expires <= $1 AND (hold_both > 0 OR hold_in > 0 OR hold_out > 0)`, ns(now))
		if err != nil {
			return err
		}
		if reaped, err = r.RowsAffected(); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM lease WHERE expires <= $1`, ns(now.Add(-leaseFor)))
		return err
	})
	return int(reaped), err
}

// age makes minutes that no daily window needs any more into quarters, and drops
// quarters that no window needs.
func (s *Store) age(ctx context.Context, now time.Time) error {
	fine := now.Add(-fineFor).Truncate(quarter)
	subjects, err := s.strings(ctx, `SELECT DISTINCT subject FROM usage WHERE width = $1 AND start < $2`, int64(minute), ns(fine))
	if err != nil {
		return err
	}
	for _, subject := range subjects {
		err := s.within(ctx, "roll up usage", func(tx *sql.Tx) error {
			if err := takeTurn(ctx, tx, subject); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO usage (subject, width, start, bytes_in, bytes_out)
				SELECT subject, CAST($1 AS BIGINT), start - start % CAST($1 AS BIGINT), CAST(SUM(bytes_in) AS BIGINT), CAST(SUM(bytes_out) AS BIGINT)
				FROM usage WHERE subject = $2 AND width = $3 AND start < $4 GROUP BY 1, 3
				ON CONFLICT (subject, width, start) DO UPDATE SET
				bytes_in = usage.bytes_in + excluded.bytes_in, bytes_out = usage.bytes_out + excluded.bytes_out`,
				int64(quarter), subject, int64(minute), ns(fine))
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `DELETE FROM usage WHERE subject = $1 AND width = $2 AND start < $3`, subject, int64(minute), ns(fine))
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.within(ctx, "drop old usage", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM usage WHERE width = $1 AND start < $2`, int64(quarter), ns(now.Add(-coarseFor))); err != nil {
			return err
		}
		return nil
	})
}

// strings reads one column.
func (s *Store) strings(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, s.explain("read", err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, s.explain("read", err)
		}
		all = append(all, v)
	}
	return all, s.explain("read", rows.Err())
}
