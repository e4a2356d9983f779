package web

import (
	_ "embed" // the description of the API
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/result"
)

// The paths and field names under /api/ip and /api/session are those of
// btest-rs's dashboard; docs/web.md says where the values differ.

// mostListed is how many tests a list has.
const mostListed = 100

// mostExported bounds an export.
const mostExported = 10_000

// A sessionOut is a test as the API tells of it. TX is what the server sent.
type sessionOut struct {
	ID        int64     `json:"id"`
	Username  *string   `json:"username"`
	Peer      string    `json:"peer_ip"`
	Started   string    `json:"started_at"`
	Ended     *string   `json:"ended_at"`
	TX        *count    `json:"tx_bytes"`
	RX        *count    `json:"rx_bytes"`
	Protocol  string    `json:"protocol"`
	Direction string    `json:"direction"`
	Run       result.ID `json:"run_id"`
	Transport string    `json:"transport"`
	Streams   int       `json:"streams"`
	Duration  *float64  `json:"duration_secs"`
	AvgTX     *float64  `json:"avg_tx_mbps"`
	AvgRX     *float64  `json:"avg_rx_mbps"`
	Lost      *int64    `json:"lost"`
	Reason    *string   `json:"reason"`
}

// name is a user's name as v may know it: who shares an address with others is
// not told their names.
func (v *visitor) name(user string) *string {
	if v.login == nil || user == "" {
		return nil
	}
	return &user
}

func (v *visitor) session1(r store.Run) sessionOut {
	o := sessionOut{
		ID: r.Num, Username: v.name(r.Account), Peer: r.Address, Started: stamp(r.Started), TX: counted(r.Out), RX: counted(r.In),
		Protocol: r.Protocol, Direction: r.Direction.String(), Run: r.ID, Transport: string(r.Transport), Streams: r.Streams, Lost: r.Lost,
	}
	if r.Elapsed != nil {
		o.Duration = new(r.Elapsed.Seconds())
		o.AvgTX, o.AvgRX = mbps(r.Out, *r.Elapsed), mbps(r.In, *r.Elapsed)
	}
	if !r.Ended.IsZero() {
		o.Ended, o.Reason = new(stamp(r.Ended)), &r.Reason
	}
	return o
}

// mbps is a mean rate in Mbit/s; nil if it cannot be told.
func mbps(bytes *uint64, d time.Duration) *float64 {
	if bytes == nil || d <= 0 {
		return nil
	}
	return new(float64(*bytes) * 8 / d.Seconds() / 1e6)
}

func (s *Site) apiSessions(w http.ResponseWriter, r *http.Request, v *visitor) error {
	a, err := s.asked(r, v)
	if err != nil {
		return err
	}
	runs, err := s.Store.Runs(r.Context(), store.Filter{Address: a.String(), Limit: mostListed})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, v.sessionsOf(runs))
	return nil
}

func (v *visitor) sessionsOf(runs []store.Run) []sessionOut {
	all := make([]sessionOut, 0, len(runs))
	for _, one := range runs {
		all = append(all, v.session1(one))
	}
	return all
}

// A statsOut sums up the tests of an address.
type statsOut struct {
	Sessions int      `json:"total_sessions"`
	TX       count    `json:"total_tx_bytes"`
	RX       count    `json:"total_rx_bytes"`
	AvgTX    *float64 `json:"avg_tx_mbps"`
	AvgRX    *float64 `json:"avg_rx_mbps"`
}

func statsOf(t store.Totals) statsOut {
	return statsOut{
		Sessions: t.Runs, TX: count(t.Out), RX: count(t.In),
		AvgTX: mbps(&t.Out, t.OutTime), AvgRX: mbps(&t.In, t.InTime),
	}
}

func (s *Site) apiStats(w http.ResponseWriter, r *http.Request, v *visitor) error {
	a, err := s.asked(r, v)
	if err != nil {
		return err
	}
	t, err := s.Store.Totals(r.Context(), store.Filter{Address: a.String()})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, statsOf(t))
	return nil
}

// A quotaOut is what an address has used. A limit of null is none.
type quotaOut struct {
	Daily        *count     `json:"daily_used"`
	DailyLimit   *count     `json:"daily_limit"`
	Weekly       *count     `json:"weekly_used"`
	WeeklyLimit  *count     `json:"weekly_limit"`
	Monthly      *count     `json:"monthly_used"`
	MonthlyLimit *count     `json:"monthly_limit"`
	All          []quotaRow `json:"quotas"`
}

// A quotaRow is one quota.
type quotaRow struct {
	Period string  `json:"period"`
	Flow   string  `json:"direction"` // combined, inbound or outbound, as the server sees it
	Used   count   `json:"used_bytes"`
	Limit  *count  `json:"limit_bytes"`
	Until  *string `json:"works_again_at"`
}

// quotasOf are the quotas of a subject; with none it is told what was used.
func (s *Site) quotasOf(r *http.Request, who account.Subject) ([]Quota, error) {
	if s.Quotas != nil {
		return s.Quotas.Quotas(r.Context(), who)
	}
	var all []Quota
	var since []time.Time
	for p := range account.Periods {
		all = append(all, Quota{Window: account.Window{Period: p}})
		since = append(since, s.now().Add(-p.Length()))
	}
	uses, err := s.Store.Usage(r.Context(), who, since...)
	for i, u := range uses {
		all[i].Used = u.Of(account.Both)
	}
	return all, err
}

func quotaOf(all []Quota) quotaOut {
	o := quotaOut{All: []quotaRow{}}
	for _, q := range all {
		row := quotaRow{Period: q.Period.String(), Flow: q.Flow.String(), Used: count(q.Used)}
		if q.Limit > 0 {
			row.Limit = new(count(q.Limit))
		}
		if !q.Until.IsZero() {
			row.Until = new(stamp(q.Until))
		}
		o.All = append(o.All, row)
		if q.Flow != account.Both {
			continue
		}
		switch q.Period {
		case account.Day:
			o.Daily, o.DailyLimit = &row.Used, row.Limit
		case account.Week:
			o.Weekly, o.WeeklyLimit = &row.Used, row.Limit
		case account.Month:
			o.Monthly, o.MonthlyLimit = &row.Used, row.Limit
		}
	}
	return o
}

func (s *Site) apiQuota(w http.ResponseWriter, r *http.Request, v *visitor) error {
	a, err := s.asked(r, v)
	if err != nil {
		return err
	}
	all, err := s.quotasOf(r, subject(a))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, quotaOf(all))
	return nil
}

// An exportOut is all that is known of an address.
type exportOut struct {
	IP       string          `json:"ip"`
	Exported string          `json:"exported_at"`
	Stats    statsOut        `json:"stats"`
	Quota    exportQuota     `json:"quota"`
	Sessions []exportSession `json:"sessions"`
	Complete bool            `json:"complete"` // all tests are in it
}

type exportQuota struct {
	Used  *count  `json:"daily_used_bytes"`
	Human *string `json:"daily_used_human"`
	Limit *count  `json:"daily_limit_bytes"`
}

type exportSession struct {
	sessionOut
	TXHuman *string `json:"tx_human"`
	RXHuman *string `json:"rx_human"`
}

func human(n *count) *string {
	if n == nil {
		return nil
	}
	return new(plot.Bytes.Format(float64(*n)))
}

func (s *Site) apiExport(w http.ResponseWriter, r *http.Request, v *visitor) error {
	a, err := s.asked(r, v)
	if err != nil {
		return err
	}
	o := exportOut{IP: a.String(), Exported: stamp(s.now()), Sessions: []exportSession{}}
	f := store.Filter{Address: a.String(), Limit: mostExported + 1}
	runs, err := s.Store.Runs(r.Context(), f)
	if err != nil {
		return err
	}
	o.Complete = len(runs) <= mostExported
	for _, one := range v.sessionsOf(runs[:min(len(runs), mostExported)]) {
		o.Sessions = append(o.Sessions, exportSession{one, human(one.TX), human(one.RX)})
	}
	t, err := s.Store.Totals(r.Context(), f)
	if err != nil {
		return err
	}
	all, err := s.quotasOf(r, subject(a))
	if err != nil {
		return err
	}
	q := quotaOf(all)
	o.Stats, o.Quota = statsOf(t), exportQuota{q.Daily, human(q.Daily), q.DailyLimit}
	w.Header().Set("Content-Disposition", `attachment; filename="btest-`+fileName(a)+`.json"`)
	writeJSON(w, http.StatusOK, o)
	return nil
}

// fileName is an address as every system takes it in a file's name.
func fileName(a netip.Addr) string { return strings.ReplaceAll(a.String(), ":", "-") }

// An intervalOut is what happened in a part of a test.
type intervalOut struct {
	Second int64   `json:"second"` // at which it ended
	TX     *count  `json:"tx_bytes"`
	RX     *count  `json:"rx_bytes"`
	Length float64 `json:"length_seconds"` // more than 1 of what is older: see the retention of the store
}

// run is the test that a path names, by its number or its ID. Of one that v may
// not see it is not told that there is one.
func (s *Site) run(r *http.Request, v *visitor, id string) (store.Run, error) {
	unknown := notFound("no test has that id")
	var run store.Run
	var err error
	if n, bad := strconv.ParseInt(id, 10, 64); bad == nil {
		run, err = s.Store.Run(r.Context(), n)
	} else {
		run, err = s.Store.RunByID(r.Context(), result.ID(id))
	}
	if store.IsNotFound(err) {
		return run, unknown
	}
	if err != nil {
		return run, err
	}
	if a, err := netip.ParseAddr(run.Address); v.login == nil && (err != nil || !s.sees(v, a)) {
		return run, unknown
	}
	return run, nil
}

func (s *Site) apiIntervals(w http.ResponseWriter, r *http.Request, v *visitor) error {
	run, err := s.run(r, v, r.PathValue("id"))
	if err != nil {
		return err
	}
	all, err := s.Store.Intervals(r.Context(), run.Num)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, intervalsOf(run, all))
	return nil
}

// sends reports whether our end of a run sent what flowed that way.
func sends(run store.Run, d result.Direction) bool {
	return (d == result.Down) == (run.Role == result.Server || run.Role == result.Reflector)
}

// intervalsOf has the two directions of one moment in one row.
func intervalsOf(run store.Run, all []store.Interval) []intervalOut {
	rows := make([]intervalOut, 0, len(all))
	var last time.Duration = -1
	for _, i := range all {
		if i.Start != last {
			end := i.Start + i.Length
			rows = append(rows, intervalOut{Second: int64(end.Round(time.Second) / time.Second), Length: i.Length.Seconds()})
			last = i.Start
		}
		row := &rows[len(rows)-1]
		if sends(run, i.Direction) {
			row.TX = counted(i.Bytes)
		} else {
			row.RX = counted(i.Bytes)
		}
	}
	return rows
}

// A userOut is an account as the API tells of it.
type userOut struct {
	Name     string    `json:"username"`
	Disabled bool      `json:"disabled"`
	SRP5     bool      `json:"ecsrp5"`
	MD5      bool      `json:"md5"`
	Duration *float64  `json:"max_duration_seconds"`
	Tests    *int      `json:"max_tests"`
	Rate     *uint64   `json:"max_bits_per_second"`
	Quotas   []userCap `json:"quotas"`
	Created  string    `json:"created_at"`
	Changed  string    `json:"changed_at"`
}

type userCap struct {
	Period string `json:"period"`
	Flow   string `json:"direction"`
	Limit  *count `json:"limit_bytes"`
}

func (s *Site) apiUsers(w http.ResponseWriter, r *http.Request, _ *visitor) error {
	entries, err := s.Store.Entries(r.Context())
	if err != nil {
		return err
	}
	all := make([]userOut, 0, len(entries))
	for _, e := range entries {
		o := userOut{Name: e.Name, Disabled: e.Disabled, SRP5: e.SRP5, MD5: e.MD5, Tests: e.Limits.Tests, Rate: e.Limits.Rate,
			Quotas: []userCap{}, Created: stamp(e.Created), Changed: stamp(e.Changed)}
		if d := e.Limits.Duration; d != nil {
			o.Duration = new(d.Seconds())
		}
		for _, win := range account.Windows() {
			if n, ok := e.Limits.Bytes[win]; ok {
				limit := new(count(n))
				if n == 0 {
					limit = nil
				}
				o.Quotas = append(o.Quotas, userCap{win.Period.String(), win.Flow.String(), limit})
			}
		}
		all = append(all, o)
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

// A refusalOut is a test or login that was not admitted.
type refusalOut struct {
	ID       int64   `json:"id"`
	Time     string  `json:"time"`
	Protocol string  `json:"protocol"`
	Username *string `json:"username"`
	Peer     string  `json:"peer_ip"`
	Word     string  `json:"reason"`
	Text     string  `json:"text"`
	Used     *count  `json:"used_bytes"`
	Limit    *count  `json:"limit_bytes"`
	Until    *string `json:"works_again_at"`
}

func (s *Site) apiRefusals(w http.ResponseWriter, r *http.Request, v *visitor) error {
	f, err := filterOf(r)
	if err != nil {
		return err
	}
	refusals, err := s.Store.Refusals(r.Context(), f)
	if err != nil {
		return err
	}
	all := make([]refusalOut, 0, len(refusals))
	for _, one := range refusals {
		o := refusalOut{ID: one.Num, Time: stamp(one.Time), Protocol: one.Protocol, Username: v.name(one.Account), Peer: one.Address,
			Word: one.Word, Text: one.Text, Used: counted(one.Used), Limit: counted(one.Limit)}
		if !one.Until.IsZero() {
			o.Until = new(stamp(one.Until))
		}
		all = append(all, o)
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

// filterOf reads what a list is to have from a query.
func filterOf(r *http.Request) (store.Filter, error) {
	q := r.URL.Query()
	f := store.Filter{Account: q.Get("user"), Protocol: q.Get("protocol"), Limit: mostListed}
	if text := q.Get("ip"); text != "" {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return f, badRequest("ip: not an IP address")
		}
		f.Address = a.Unmap().String()
	}
	if text := q.Get("before"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return f, badRequest("before: not a number")
		}
		f.Before = n
	}
	return f, nil
}

//go:embed openapi.json
var apiDocument []byte

func (s *Site) apiDocument(w http.ResponseWriter, _ *http.Request, _ *visitor) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(apiDocument)
	return nil
}
