package account

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// A Flow is what a quota counts. In and Out are as the server sees them.
type Flow uint8

const (
	Both Flow = iota // in and out together
	In               // client to server, "inbound"
	Out              // server to client, "outbound"
	Flows
)

func (f Flow) String() string {
	switch f {
	case In:
		return "inbound"
	case Out:
		return "outbound"
	}
	return "combined"
}

// A Period is how long a quota lasts: 1, 7 or 30 days, or the calendar's day,
// week or month.
type Period uint8

const (
	Day Period = iota
	Week
	Month
	Periods
)

func (p Period) String() string { return [...]string{"daily", "weekly", "monthly"}[p] }

// Length is that of the rolling window.
func (p Period) Length() time.Duration {
	return [...]time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}[p]
}

// A Window is what one quota is about.
type Window struct {
	Period Period
	Flow   Flow
}

// ParseWindow reads a window from the words of its parts.
func ParseWindow(period, flow string) (Window, error) {
	for p := range Periods {
		for f := range Flows {
			if p.String() == period && f.String() == flow {
				return Window{p, f}, nil
			}
		}
	}
	return Window{}, fmt.Errorf("no quota is %q and %q", period, flow)
}

// Windows are all that a quota can be about, in the order that a person reads
// them.
func Windows() []Window {
	var all []Window
	for p := range Periods {
		for f := range Flows {
			all = append(all, Window{Period: p, Flow: f})
		}
	}
	return all
}

// Limits are what an account or an address may do. What is nil or absent is left
// to the default; 0 is no limit.
type Limits struct {
	Bytes    map[Window]uint64
	Duration *time.Duration // longest test
	Tests    *int           // at once
	Rate     *uint64        // bit/s each way of one test
}

// Over is l where it says something, and base for the rest.
func (l Limits) Over(base Limits) Limits {
	all := Limits{Bytes: map[Window]uint64{}, Duration: base.Duration, Tests: base.Tests, Rate: base.Rate}
	for _, from := range []Limits{base, l} {
		for w, n := range from.Bytes {
			all.Bytes[w] = n
		}
	}
	if l.Duration != nil {
		all.Duration = l.Duration
	}
	if l.Tests != nil {
		all.Tests = l.Tests
	}
	if l.Rate != nil {
		all.Rate = l.Rate
	}
	return all
}

// A Subject is whose use is counted: an account or an address, not both.
type Subject struct {
	Account string
	Address netip.Addr // as admit.Site gives it: an IPv6 /64 is one
}

// Key names the subject in a store. No account's key is an address's.
func (s Subject) Key() string {
	if s.Address.IsValid() {
		return "address:" + s.Address.String()
	}
	// Of a login under any name it is a stranger's, and PostgreSQL takes no other text.
	return "account:" + strings.ReplaceAll(strings.ToValidUTF8(s.Account, "�"), "\x00", "�")
}

func (s Subject) String() string {
	if s.Address.IsValid() {
		return "address " + s.Address.String()
	}
	return fmt.Sprintf("user %q", s.Account)
}

// The fixed words of refusals and of tests that were cut; those of quotas come
// from ExceededWord.
const (
	WordDisabled = "user_disabled"
	WordNotFound = "user_not_found"
	WordStore    = "store_unavailable"
)

// ExceededWord is the fixed word for a quota that is used up, such as
// "user_daily_quota_exceeded" or "ip_inbound_daily_quota_exceeded".
func ExceededWord(s Subject, w Window) string {
	word := "user_"
	if s.Address.IsValid() {
		word = "ip_"
	}
	if w.Flow != Both {
		word += w.Flow.String() + "_"
	}
	return word + w.Period.String() + "_quota_exceeded"
}
