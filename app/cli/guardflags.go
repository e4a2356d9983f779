//go:build !nano

package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/app/unit"
)

// guardFlags are the store of a server, and what it allows with what is in there.
type guardFlags struct {
	store            storeFlags
	users, addresses quotaFlag
	calendar         string
	week             string
	queue, check     duration
	onLoss           string
	web              webFlags
}

func (f *guardFlags) register(fs *pflag.FlagSet) {
	f.check = duration(10 * time.Second)
	f.store.register(fs)
	f.web.register(fs)
	fs.Var(&f.users, "user-quota", "bytes of each user, such as daily=50G,monthly_out=1T: daily, weekly or monthly, with _in or _out one way only; needs --store")
	fs.Var(&f.addresses, "address-quota", "the same of each address; an IPv6 /64 is one")
	fs.StringVar(&f.calendar, "calendar", "", "quotas of the days, weeks and months of a time `ZONE`, such as Europe/Riga, instead of the last 1, 7 and 30 days")
	fs.StringVar(&f.week, "week-begins", "monday", "first `DAY` of the calendar's week")
	registerQueue(fs, &f.queue)
	fs.Var(&f.check, "quota-check-interval", "how often running tests are checked for disabled users and changed limits")
	fs.StringVar(&f.onLoss, "on-store-loss", "stop", "tests `DO` when the store is lost: stop once what is in hand is used up, or continue and be booked later")
}

// given reports whether there is a store.
func (f *guardFlags) given(e *env) bool { return f.store.place(e) != "" }

// open opens the store, if there is one, and makes the guard.
func (f *guardFlags) open(ctx context.Context, e *env, o *output) (*guard, error) {
	rules, err := f.rules()
	if err = cmp.Or(err, f.web.validate()); err != nil {
		return nil, err
	}
	if !f.given(e) {
		for name, q := range map[string]*quotaFlag{"user-quota": &f.users, "address-quota": &f.addresses} {
			if len(q.limits) > 0 {
				return nil, misuse("", "%s: quotas need a store, where what was used is kept; give --store FILE or --store postgres://USER@HOST/DATABASE", flagValue(name, q.text))
			}
		}
		if f.store.key != "" {
			return nil, misuse("", "%s: without a store it seals nothing; leave it out, or give --store", flagValue("store-key", f.store.key))
		}
		g := newGuard(ctx, o.logger(), rules, kept{})
		g.pages.open(f.web)
		return g, nil
	}
	if err := store.CheckDSN(f.store.place(e)); err != nil {
		return nil, misuse("", "%s: %w", flagValue("store", withoutPassword(f.store.place(e))), err)
	}
	k, err := openKept(ctx, f.store.config(e, o.logger()))
	if err != nil {
		return nil, err
	}
	g := newGuard(ctx, o.logger(), rules, k)
	g.pages.open(f.web)
	return g, nil
}

// withoutPassword is a DSN as it may be shown.
func withoutPassword(dsn string) string {
	if u, err := url.Parse(dsn); err == nil {
		return u.Redacted()
	}
	scheme, _, _ := strings.Cut(dsn, "://")
	return scheme + "://..."
}

func (f *guardFlags) rules() (quota.Rules, error) {
	r := quota.Rules{
		Users: account.Limits{Bytes: f.users.limits}, Addresses: account.Limits{Bytes: f.addresses.limits},
		Wait: queueTime(f.queue), Check: time.Duration(f.check),
	}
	switch f.onLoss {
	case "stop":
	case "continue":
		r.GoOn = true
	default:
		return r, misuse("", "%s: not one of the choices; give stop or continue", flagValue("on-store-loss", f.onLoss))
	}
	if r.Check < time.Second {
		return r, misuse("", "--quota-check-interval %v: want 1s or more", r.Check)
	}
	day := slices.Index(config.Weekdays, strings.ToLower(f.week))
	if day < 0 {
		return r, misuse("", "%s: not one of the choices; give %s", flagValue("week-begins", f.week), strings.Join(config.Weekdays, ", "))
	}
	var err error
	if r.Calendar, err = calendarOf(f.calendar, time.Weekday(day)); err != nil {
		return r, misuse("", "%s: no such time zone; give such as Europe/Riga, UTC or Local", flagValue("calendar", f.calendar))
	}
	return r, nil
}

// calendarOf is the calendar of a time zone; none for none.
func calendarOf(zone string, week time.Weekday) (*quota.Calendar, error) {
	if zone == "" {
		return nil, nil
	}
	z, err := time.LoadLocation(zone)
	return &quota.Calendar{Zone: z, WeekBegin: week}, err
}

// rulesOf are the rules of a configuration.
func rulesOf(l *config.Loaded) quota.Rules {
	c := l.Limits
	r := quota.Rules{
		Users: l.LimitsOf("limits.users", c.Users), Addresses: l.LimitsOf("limits.addresses", c.Addresses),
		Tests: int(c.MaxTests), Wait: queueTime(duration(c.QueueTime)), Check: time.Duration(c.CheckInterval), GoOn: l.Store.OnLoss == "continue",
	}
	for i, n := range c.Networks {
		prefix, _ := config.ParseNetwork(n.Network) // was checked
		r.Networks = append(r.Networks, quota.Network{Prefix: prefix, Limits: l.LimitsOf(fmt.Sprintf("limits.networks[%d]", i), n.Allowance())})
	}
	r.Calendar, _ = calendarOf(c.Calendar, time.Weekday(slices.Index(config.Weekdays, c.WeekBegins))) // was checked
	return r
}

// storeOf is the store of a configuration.
func storeOf(l *config.Loaded) store.Config {
	keep := func(d unit.Duration) time.Duration {
		if d == 0 {
			return -1
		}
		return time.Duration(d)
	}
	r := l.Store.Retention
	return store.Config{DSN: l.Store.DSN, KeyFile: l.Store.KeyFile, Retention: store.Retention{
		Raw: keep(r.Raw), Minutes: keep(r.Minutes), Hours: keep(r.Hours), Runs: keep(r.Runs), Refusals: keep(r.Refusals),
		ProbeRuns: keep(r.ProbeRuns), ProbeHours: keep(r.ProbeHours), ProbeDays: keep(r.ProbeDays),
	}}
}

// A quotaFlag is quotas by name, such as daily=50G,monthly_out=1T.
type quotaFlag struct {
	limits map[account.Window]uint64
	text   string // as it was given last
}

// String is the quotas as Set takes them.
func (q *quotaFlag) String() string {
	var all []string
	for _, name := range config.QuotaNames() {
		if w, _ := config.QuotaWindow(name); q.limits[w] > 0 {
			all = append(all, fmt.Sprintf("%s=%d", name, q.limits[w]))
		}
	}
	return strings.Join(all, ",")
}

// Type names the kind of value in help texts.
func (q *quotaFlag) Type() string { return "quotas" }

// Set adds the quotas of text.
func (q *quotaFlag) Set(text string) error {
	limits := maps.Clone(q.limits)
	if limits == nil {
		limits = map[account.Window]uint64{}
	}
	for one := range strings.SplitSeq(text, ",") {
		name, size, ok := strings.Cut(strings.TrimSpace(one), "=")
		w, known := config.QuotaWindow(name)
		if !ok || !known {
			return fmt.Errorf("want NAME=SIZE with a name of %s", strings.Join(config.QuotaNames(), ", "))
		}
		n, err := unit.ParseSize(size)
		if err != nil {
			return err
		}
		limits[w] = n
	}
	q.limits, q.text = limits, text
	return nil
}
