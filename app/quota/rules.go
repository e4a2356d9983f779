package quota

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/app/account"
)

// Rules are what holds for whoever has none of their own. They can be changed
// while tests run.
type Rules struct {
	Users     account.Limits // of an account
	Addresses account.Limits // of an address, whoever logged in
	Networks  []Network      // what some addresses may instead
	Calendar  *Calendar      // nil: windows roll
	Tests     int            // at once in all servers; 0 is no limit
	Wait      time.Duration  // longest wait for a place; 0 means 8 s, less than 0 none
	Check     time.Duration  // how often running tests are looked at; 0 means 10 s
	GoOn      bool           // when the store is lost tests go on, and begin
}

// A Network has other limits than Rules.Addresses: what it says nothing of is
// left to them. Of several the longest prefix counts. Each address in it has
// them for itself.
type Network struct {
	Prefix netip.Prefix
	Limits account.Limits
}

func (r *Rules) wait() time.Duration  { return max(0, cmp.Or(r.Wait, usualWait)) }
func (r *Rules) check() time.Duration { return cmp.Or(r.Check, usualCheck) }

// address are the limits of an address.
func (r *Rules) address(a netip.Addr) account.Limits {
	limits, bits := r.Addresses, -1
	for _, n := range r.Networks {
		if n.Prefix.Bits() > bits && n.Prefix.Contains(a) {
			limits, bits = n.Limits.Over(r.Addresses), n.Prefix.Bits()
		}
	}
	return limits
}

// A Calendar makes quotas last for the days, weeks and months of a place instead
// of 1, 7 and 30 days.
type Calendar struct {
	Zone      *time.Location // nil is UTC
	WeekBegin time.Weekday
}

// begin is when the period that now lies in began, n is 0, or the n-th after it.
func (c *Calendar) begin(now time.Time, p account.Period, n int) time.Time {
	zone := c.Zone
	if zone == nil {
		zone = time.UTC
	}
	y, m, d := now.In(zone).Date()
	switch p {
	case account.Week:
		d -= int(now.In(zone).Weekday()-c.WeekBegin+7) % 7
		d += 7 * n
	case account.Month:
		d, m = 1, m+time.Month(n)
	default:
		d += n
	}
	return midnight(y, m, d, zone)
}

// midnight is the first moment of a day. Where clocks are put forward at
// midnight there is no 0:00, and time.Date may say an hour before it; where they
// are put back to it there are two, of which it may say the later.
func midnight(y int, m time.Month, d int, zone *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	if want := time.Date(y, m, d, 0, 0, 0, 0, time.UTC); t.Day() != want.Day() {
		_, t = t.ZoneBounds()
	}
	if first := t.Add(-time.Hour); first.Day() == t.Day() {
		t = first
	}
	return t
}

// windows are the windows that limits limit, in a fixed order.
func windows(l account.Limits) []account.Window {
	var all []account.Window
	for p := range account.Periods {
		for f := range account.Flows {
			if w := (account.Window{Period: p, Flow: f}); l.Bytes[w] > 0 {
				all = append(all, w)
			}
		}
	}
	return all
}

// caps are windows as the ledger takes them.
func (r *Rules) caps(now time.Time, l account.Limits, ws []account.Window) []account.Cap {
	all := make([]account.Cap, len(ws))
	for i, w := range ws {
		since := now.Add(-w.Period.Length())
		if r.Calendar != nil {
			since = r.Calendar.begin(now, w.Period, 0)
		}
		all[i] = account.Cap{Flow: w.Flow, Since: since, Limit: l.Bytes[w]}
	}
	return all
}
