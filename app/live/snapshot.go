package live

import (
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/result"
)

// Schema is the value of "schema" in a Snapshot. Fields are only ever added.
const Schema = "sonde.live/1"

// A Snapshot is what a daemon does at a moment. What is not known is nil.
type Snapshot struct {
	Schema string     `json:"schema"`
	Time   time.Time  `json:"time"`
	Began  *time.Time `json:"began"` // when the daemon started
	Tests  []Test     `json:"tests"`
	Probes []Probe    `json:"probes"`
	Totals *Totals    `json:"totals"` // since the start
}

// A Test is one that runs.
type Test struct {
	ID        result.ID `json:"id"`
	Protocol  string    `json:"protocol"`
	Role      string    `json:"role"` // our part: "server", or "client" and "sender" of a probe
	Transport string    `json:"transport"`
	Direction string    `json:"direction"`
	Peer      string    `json:"peer"`
	Account   string    `json:"account"` // as the peer gave it; empty if nobody logged in
	Streams   int       `json:"streams"`
	Began     time.Time `json:"began"`
	Duration  float64   `json:"duration_seconds"` // asked for; 0: until stopped
	Elapsed   *float64  `json:"elapsed_seconds"`  // of data
	DownRate  *uint64   `json:"download_bits_per_second"`
	UpRate    *uint64   `json:"upload_bits_per_second"`
	Down      *uint64   `json:"download_bytes"`
	Up        *uint64   `json:"upload_bytes"`
	Lost      *int64    `json:"lost"`
	RTT       *int64    `json:"rtt_ns"` // median of the last interval
}

// A Probe is one of the configuration.
type Probe struct {
	Name     string     `json:"name"`
	Protocol string     `json:"protocol"`
	Target   string     `json:"target"`
	Every    float64    `json:"every_seconds"`
	State    string     `json:"state"`
	Runs     uint64     `json:"runs"`
	Missed   uint64     `json:"missed"`
	Last     *time.Time `json:"last_run"`
	LastGood *bool      `json:"last_success"`
	Text     string     `json:"text"` // what the last run said
}

// Totals are counts since the start.
type Totals struct {
	Tests        uint64            `json:"tests"` // that have ended
	Failed       uint64            `json:"failed"`
	Refused      map[string]uint64 `json:"refused"` // never began, by reason
	LoginsFailed uint64            `json:"logins_failed"`
	Down         uint64            `json:"download_bytes"`
	Up           uint64            `json:"upload_bytes"`
}

func newTest(b result.Begin) *Test {
	t := &Test{
		ID: b.Run, Protocol: b.Protocol, Role: string(b.Role), Transport: string(b.Transport), Direction: b.Direction.String(),
		Peer: clip(b.Target), Account: clip(b.Account), Streams: b.Streams, Began: b.Time, Duration: b.Duration.Seconds(),
	}
	if t.Peer == "" && b.Peer.IsValid() {
		t.Peer = netip.AddrPortFrom(b.Peer.Addr().Unmap(), b.Peer.Port()).String()
	}
	return t
}

// add takes what happened in an interval. It makes new figures and does not write
// to old ones, which a Snapshot may have.
func (t *Test) add(i result.Interval) {
	t.Elapsed = result.Some(i.End.Seconds())
	if r := i.RoundTrips; r != nil {
		t.Lost = result.Some(orZero(t.Lost) + int64(r.Lost))
		if r.RTT != nil {
			t.RTT = result.Some(int64(r.RTT.Delay.P50))
		}
		return
	}
	v := i.Local()
	if i.Stream != result.AllStreams || v == nil {
		return
	}
	rate := result.Rate(v.Bytes, i.End-i.Start)
	if i.Direction == result.Down {
		t.DownRate, t.Down = rate, result.Some(orZero(t.Down)+v.Bytes)
	} else {
		t.UpRate, t.Up = rate, result.Some(orZero(t.Up)+v.Bytes)
	}
	if v.Lost != nil {
		t.Lost = result.Some(orZero(t.Lost) + *v.Lost)
	}
	if i.RTT != nil {
		t.RTT = result.Some(int64(i.RTT.P50))
	}
}

func orZero[N int64 | uint64](p *N) N {
	if p == nil {
		return 0
	}
	return *p
}

func (t *Totals) add(i result.Interval) {
	v := i.Local()
	if i.Stream != result.AllStreams || i.RoundTrips != nil || v == nil {
		return
	}
	if i.Direction == result.Down {
		t.Down += v.Bytes
	} else {
		t.Up += v.Bytes
	}
}

// refuse counts a test that never began. Words are fixed, but errors are many.
func (t *Totals) refuse(word string) {
	if _, known := t.Refused[word]; !known && len(t.Refused) >= mostWords {
		word = otherWord
	}
	t.Refused[word]++
}
