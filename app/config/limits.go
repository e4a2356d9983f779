package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/unit"
)

// Store is where what lasts is kept.
type Store struct {
	DSN       string    `config:"dsn" help:"a file of SQLite, or postgres://USER@HOST/DATABASE, which several servers can share"`
	KeyFile   string    `config:"key_file" help:"FILE of the key that seals its secrets; without one the file of SQLite with .key behind it"`
	OnLoss    string    `config:"on_loss" default:"stop" help:"what tests do when it is lost: stop once what is in hand is used up, or continue and be booked later"`
	Retention Retention `config:"retention" help:"how long results are kept; 0s is for ever"`
}

// Retention is for how long.
type Retention struct {
	Raw      unit.Duration `config:"raw" default:"7d" help:"intervals as they came; then they are rolled up to minutes"`
	Minutes  unit.Duration `config:"minutes" default:"90d" help:"minutes; then they are rolled up to hours"`
	Hours    unit.Duration `config:"hours" default:"0s" help:"hours"`
	Runs     unit.Duration `config:"runs" default:"0s" help:"tests, and with them their intervals"`
	Refusals unit.Duration `config:"refusals" default:"90d" help:"tests that were not admitted"`

	ProbeRuns  unit.Duration `config:"probe_runs" default:"7d" help:"tests of probes one by one, and what was missed"`
	ProbeHours unit.Duration `config:"probe_hours" default:"90d" help:"hours of probes; then they are rolled up to days"`
	ProbeDays  unit.Duration `config:"probe_days" default:"0s" help:"days of probes"`
}

// Limits are what all servers together allow.
type Limits struct {
	Users         Allowance     `config:"users" help:"what each user may, unless sonde users set says otherwise"`
	Addresses     Allowance     `config:"addresses" help:"what each address may, whoever logged in; an IPv6 /64 is one"`
	Networks      []Network     `config:"networks" help:"what each address of some networks may instead; the smallest network counts"`
	MaxTests      unit.Count    `config:"max_tests" default:"0" help:"tests at once in all servers; 0 no limit"`
	Calendar      string        `config:"calendar" help:"quotas of the days, weeks and months of a time zone, such as Europe/Riga, UTC or Local; without one of the last 1, 7 and 30 days"`
	WeekBegins    string        `config:"week_begins" default:"monday" help:"first day of the calendar's week"`
	QueueTime     unit.Duration `config:"queue_time" default:"8s" help:"who finds no place waits so long for one; 0s not at all"`
	CheckInterval unit.Duration `config:"check_interval" default:"10s" help:"how often running tests are checked for disabled users and changed limits"`
}

// An Allowance is what a user or an address may.
type Allowance struct {
	Quota       map[string]unit.Size `config:"quota" help:"bytes by daily, weekly and monthly, both ways together; with _in or _out those that the server receives or sends"`
	MaxDuration unit.Duration        `config:"max_duration" help:"longest test; 0 no limit"`
	MaxTests    unit.Count           `config:"max_tests" help:"tests at once; 0 no limit"`
	MaxRate     unit.Rate            `config:"max_rate" help:"highest rate each way of one test, bit/s"`
}

// A Network is one whose addresses have limits of their own. What it leaves out is
// as for all addresses.
type Network struct {
	Network     string               `config:"network" help:"such as 192.0.2.0/24 or 2001:db8::/32"`
	Quota       map[string]unit.Size `config:"quota" help:"as for all addresses"`
	MaxDuration unit.Duration        `config:"max_duration" help:"longest test; 0 no limit"`
	MaxTests    unit.Count           `config:"max_tests" help:"tests at once; 0 no limit"`
	MaxRate     unit.Rate            `config:"max_rate" help:"highest rate each way of one test, bit/s"`
}

// QuotaName is what a file or a flag calls a window, such as daily or weekly_in.
func QuotaName(w account.Window) string {
	return w.Period.String() + [...]string{account.Both: "", account.In: "_in", account.Out: "_out"}[w.Flow]
}

// QuotaNames are all there are.
func QuotaNames() []string {
	var all []string
	for p := range account.Periods {
		for f := range account.Flows {
			all = append(all, QuotaName(account.Window{Period: p, Flow: f}))
		}
	}
	return all
}

// QuotaWindow is the window of a name.
func QuotaWindow(name string) (account.Window, bool) {
	for p := range account.Periods {
		for f := range account.Flows {
			if w := (account.Window{Period: p, Flow: f}); QuotaName(w) == strings.ReplaceAll(name, "-", "_") {
				return w, true
			}
		}
	}
	return account.Window{}, false
}

// LimitsOf are the limits of the section at path, such as limits.users: what it says
// nothing of is nil.
func (l *Loaded) LimitsOf(path string, a Allowance) account.Limits {
	limits := account.Limits{Bytes: map[account.Window]uint64{}}
	for name, n := range a.Quota {
		if w, ok := QuotaWindow(name); ok {
			limits.Bytes[w] = uint64(n)
		}
	}
	if l.Given(path + ".max_duration") {
		limits.Duration = new(time.Duration(a.MaxDuration))
	}
	if l.Given(path + ".max_tests") {
		limits.Tests = new(int(a.MaxTests))
	}
	if l.Given(path + ".max_rate") {
		limits.Rate = new(uint64(a.MaxRate))
	}
	return limits
}

// Allowance is what the network says.
func (n Network) Allowance() Allowance {
	return Allowance{Quota: n.Quota, MaxDuration: n.MaxDuration, MaxTests: n.MaxTests, MaxRate: n.MaxRate}
}

// ParseNetwork reads a network or an address.
func ParseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return a.Prefix(a.BitLen())
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// Weekdays are the names of days, from Sunday.
var Weekdays = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// HasQuota reports whether anything limits bytes.
func (c *Limits) HasQuota() bool {
	return len(c.Users.Quota) > 0 || len(c.Addresses.Quota) > 0 ||
		slices.ContainsFunc(c.Networks, func(n Network) bool { return len(n.Quota) > 0 })
}

func (s *Store) validate(bad complaint) {
	oneOf(bad, "on_loss", s.OnLoss, "stop", "continue")
	if s.DSN == "" && s.KeyFile != "" {
		bad("dsn", "it is missing, and the key seals nothing; give such as /var/lib/sonde/sonde.db")
	}
}

func (c *Limits) validate(bad complaint, store bool) {
	c.Users.validate(bad, "users")
	c.Addresses.validate(bad, "addresses")
	for i, n := range c.Networks {
		at := "networks" + index(i)
		n.Allowance().validate(bad, at)
		if _, err := ParseNetwork(n.Network); err != nil {
			bad(at+".network", "%s: not a network; give such as 192.0.2.0/24", shown(n.Network))
		}
	}
	if c.MaxTests < 0 {
		bad("max_tests", "%d: want 1 or more, or 0 for no limit", c.MaxTests)
	}
	if _, err := time.LoadLocation(c.Calendar); err != nil {
		bad("calendar", "%s: no such time zone; give such as Europe/Riga, UTC or Local", shown(c.Calendar))
	}
	oneOf(bad, "week_begins", c.WeekBegins, Weekdays...)
	if time.Duration(c.CheckInterval) < time.Second {
		bad("check_interval", "%v: want 1s or more", time.Duration(c.CheckInterval))
	}
	if c.HasQuota() && !store {
		bad("", "quotas need a store, where what was used is kept; give store.dsn")
	}
}

func (a Allowance) validate(bad complaint, at string) {
	for name := range a.Quota {
		if _, ok := QuotaWindow(name); !ok {
			bad(at+".quota."+name, "unknown quota %s", suggestion(name, QuotaNames()))
		}
	}
	if a.MaxTests < 0 {
		bad(at+".max_tests", "%d: want 1 or more, or 0 for no limit", a.MaxTests)
	}
}
