package quota

import (
	"net/netip"
	"sync"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/sonde-net/sonde/app/account"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestCalendar: days that clocks make shorter, longer or begin late, months of any
// length, weeks over the end of a year.
func TestCalendar(t *testing.T) {
	for _, tt := range []struct {
		zone, now  string
		week       time.Weekday
		period     account.Period
		begin, end string
	}{
		{"Europe/Riga", "2026-03-29 12:00", time.Monday, account.Day, "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"},
		{"Europe/Riga", "2026-10-25 12:00", time.Monday, account.Day, "2026-10-24T21:00:00Z", "2026-10-25T22:00:00Z"},
		{"UTC", "2026-01-31 23:59", time.Monday, account.Month, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"},
		{"UTC", "2028-02-29 00:00", time.Monday, account.Month, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"UTC", "2026-12-31 10:00", time.Monday, account.Month, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"UTC", "2027-01-01 10:00", time.Monday, account.Week, "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"},
		{"UTC", "2026-11-29 10:00", time.Sunday, account.Week, "2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"},
		{"UTC", "2026-11-29 10:00", time.Monday, account.Week, "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"},
		// No 0:00 on that day: clocks go from 0:00 to 1:00.
		{"Africa/Cairo", "2026-04-24 12:00", time.Monday, account.Day, "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"},
		// Two of them: clocks go from 1:00 to 0:00.
		{"America/Havana", "2026-11-01 12:00", time.Monday, account.Day, "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"Asia/Kathmandu", "2026-05-05 00:01", time.Monday, account.Day, "2026-05-04T18:15:00Z", "2026-05-05T18:15:00Z"},
	} {
		z := zone(t, tt.zone)
		now, err := time.ParseInLocation("2006-01-02 15:04", tt.now, z)
		if err != nil {
			t.Fatal(err)
		}
		c := &Calendar{Zone: z, WeekBegin: tt.week}
		begin, end := c.begin(now, tt.period, 0), c.begin(now, tt.period, 1)
		if b, e := begin.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339); b != tt.begin || e != tt.end {
			t.Errorf("%s period of %s in %s: %s to %s, want %s to %s", tt.period, tt.now, tt.zone, b, e, tt.begin, tt.end)
		}
	}
}

// TestCalendarCovers: through a year of several zones each moment lies in its period,
// and where one ends the next begins.
func TestCalendarCovers(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Riga", "America/Havana", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia", "America/Santiago"} {
		c := &Calendar{Zone: zone(t, name), WeekBegin: time.Saturday}
		for p := range account.Periods {
			at := time.Date(2026, 1, 1, 0, 7, 0, 0, time.UTC)
			end := c.begin(at, p, 1)
			for range 366 * 24 * 2 {
				begin, next := c.begin(at, p, 0), c.begin(at, p, 1)
				if begin.After(at) || !next.After(at) {
					t.Fatalf("%s: %v lies in no %s period: %v to %v", name, at, p, begin, next)
				}
				if !at.Before(end) {
					if !begin.Equal(end) {
						t.Fatalf("%s: a %s period ended at %v, the next began at %v", name, p, end, begin)
					}
					end = next
				}
				at = at.Add(30 * time.Minute)
			}
		}
	}
}

func TestNetworks(t *testing.T) {
	r := &Rules{
		Addresses: account.Limits{Tests: new(1), Rate: new(uint64(10))},
		Networks: []Network{
			{netip.MustParsePrefix("10.1.2.0/24"), account.Limits{Tests: new(3)}},
			{netip.MustParsePrefix("10.0.0.0/8"), account.Limits{Tests: new(2)}},
			{netip.MustParsePrefix("2001:db8::/32"), account.Limits{Tests: new(4)}},
		},
	}
	for a, want := range map[string]int{"192.0.2.1": 1, "10.1.2.3": 3, "10.1.3.3": 2, "2001:db8::1": 4} {
		if l := r.address(netip.MustParseAddr(a)); *l.Tests != want || *l.Rate != 10 {
			t.Errorf("%s may run %d", a, *l.Tests)
		}
	}
}

// A wall is a wall clock that steps.
type wall struct {
	mu  sync.Mutex
	off time.Duration
}

func (w *wall) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.off)
}

func (w *wall) step(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off += d
}

// TestClockSteps: a wall clock that goes back and forth over midnight resets nothing
// twice, and nothing is ever below zero.
func TestClockSteps(t *testing.T) {
	for _, calendar := range []*Calendar{nil, {}} {
		w := &wall{}
		l := newLedger()
		p := &Policy{Ledger: l, Clock: w.now}
		inBubble(t, p, Rules{Users: daily(account.Both, 10*mega), Calendar: calendar}, func(t *testing.T) {
			w.step(23*time.Hour + 50*time.Minute) // synctest begins at midnight UTC
			use := func(want uint64) {
				t.Helper()
				g, err := p.At(Server{}).Admit(t.Context(), upload("ann"))
				if err != nil {
					if exceeded(t, err); want != 0 {
						t.Error(err)
					}
					return
				}
				moved, err := spend(g.Budget.In(), mega/4)
				exceeded(t, err)
				if moved != want {
					t.Errorf("%d moved, want %d", moved, want)
				}
				g.Settle(0, moved)
				time.Sleep(time.Second)
			}
			use(10 * mega)
			w.step(-2 * time.Hour)
			use(0)
			w.step(2 * time.Hour)
			use(0)
			w.step(20 * time.Minute) // the next day
			again := uint64(0)
			if calendar != nil {
				again = 10 * mega
			}
			use(again)
			w.step(-20 * time.Minute) // and back: the day before is used up, and so is this
			use(0)
			w.step(20 * time.Minute)
			use(0)
		})
	}
}

// TestClockStepsInTest: a step in the middle of a test takes nothing from it and
// gives it nothing.
func TestClockStepsInTest(t *testing.T) {
	w := &wall{}
	l := newLedger()
	p := &Policy{Ledger: l, Clock: w.now}
	inBubble(t, p, Rules{Users: daily(account.Both, 10*mega), Calendar: &Calendar{}}, func(t *testing.T) {
		w.step(12 * time.Hour)
		g := mustAdmit(t, p.At(Server{}), upload("ann"))
		moved := uint64(0)
		for n := 0; g.Budget.In().Spend(mega/8) == nil; n++ {
			moved += mega / 8
			w.step([]time.Duration{-time.Hour, time.Hour}[n%2])
			time.Sleep(300 * time.Millisecond)
		}
		if moved != 10*mega {
			t.Errorf("%d moved", moved)
		}
		g.Settle(0, moved)
	})
}
