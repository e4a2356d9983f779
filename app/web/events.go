package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/result"
)

// Times of live events.
const (
	gather     = 250 * time.Millisecond // changes go out together
	heartbeat  = 15 * time.Second
	eventWrite = 10 * time.Second // a reader that takes longer for one is gone
	retryAfter = 2 * time.Second
)

// watchersPerAddress bounds how many live views one address has open.
const watchersPerAddress = 16

// may says which running tests v sees.
func (s *Site) may(v *visitor, only netip.Addr) func(result.Begin) bool {
	return func(b result.Begin) bool {
		a := b.Peer.Addr().Unmap().WithZone("")
		return s.sees(v, a) && (!only.IsValid() || a == only)
	}
}

// wanted is the address that ?ip= asks for; none is every one that v may see.
func (s *Site) wanted(r *http.Request, v *visitor) (netip.Addr, error) {
	text := r.URL.Query().Get("ip")
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil || a.Zone() != "":
		return a, badRequest("ip: not an IP address")
	case !s.sees(v, a.Unmap()):
		return a, errLogin
	}
	return a.Unmap(), nil
}

func (s *Site) apiTests(w http.ResponseWriter, r *http.Request, v *visitor) error {
	only, err := s.wanted(r, v)
	if err != nil {
		return err
	}
	n := s.State.Hub.since(0, s.may(v, only))
	writeJSON(w, http.StatusOK, s.liveJSON(n, v).Tests)
	return nil
}

// apiEvents sends what runs, and then each change, as Server-Sent Events. A
// reader that comes back with the number it had last gets what it missed.
func (s *Site) apiEvents(w http.ResponseWriter, r *http.Request, v *visitor) error {
	only, err := s.wanted(r, v)
	if err != nil {
		return err
	}
	leave, err := s.State.enter(v.addr)
	if err != nil {
		return err
	}
	defer leave()
	wake := make(chan struct{}, 1)
	off, ok := s.State.Hub.watch(wake)
	if !ok {
		return &fault{status: http.StatusServiceUnavailable, text: "too many live views are open"}
	}
	defer off()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	out := &stream{w: w, c: http.NewResponseController(w)}
	_ = out.c.SetReadDeadline(time.Time{}) // it is open for as long as somebody reads
	fmt.Fprintf(w, "retry: %d\n\n", retryAfter.Milliseconds())
	last := s.State.Hub.known(r.Header.Get("Last-Event-ID"))
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for first := true; ; first = false {
		n := s.State.Hub.since(last, s.may(v, only))
		if first || len(n.tests) > 0 {
			if out.event(s.State.Hub.mark(n.upTo), s.liveJSON(n, v)) != nil {
				return nil
			}
		}
		last = n.upTo
		select {
		case <-r.Context().Done():
			return nil
		case <-beat.C:
			if again, err := s.visitor(r); err != nil || (again.login == nil) != (v.login == nil) {
				return nil // signed out meanwhile
			}
			if out.send(": still here\n\n") != nil {
				return nil
			}
		case <-wake:
			if !pause(r, gather) {
				return nil
			}
		}
	}
}

// pause waits; it is false when the reader has gone.
func pause(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// A stream is a response of events.
type stream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (o *stream) event(id string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return o.send(fmt.Sprintf("id: %s\nevent: tests\ndata: %s\n\n", id, b))
}

func (o *stream) send(text string) error {
	if err := o.c.SetWriteDeadline(time.Now().Add(eventWrite)); err != nil {
		return err
	}
	if _, err := o.w.Write([]byte(text)); err != nil {
		return err
	}
	return o.c.Flush()
}

// enter takes a place among the live views of an address.
func (s *State) enter(a netip.Addr) (leave func(), err error) {
	leave, err = s.views.Enter(a)
	if err != nil {
		return nil, &fault{status: http.StatusTooManyRequests, text: "too many live views are open from your address"}
	}
	return leave, nil
}

// A liveAnswer is what an event tells.
type liveAnswer struct {
	Reset bool          `json:"reset"`
	Tests []liveTestOut `json:"tests"`
}

// A liveTestOut is a running test as the API tells of it.
type liveTestOut struct {
	ID        result.ID    `json:"id"`
	Protocol  string       `json:"protocol"`
	Transport string       `json:"transport"`
	Direction string       `json:"direction"`
	Username  *string      `json:"username"`
	Peer      string       `json:"peer_ip"`
	Started   string       `json:"started_at"`
	Streams   int          `json:"streams"`
	Elapsed   *float64     `json:"elapsed_seconds"`
	DownRate  *uint64      `json:"download_bits_per_second"`
	UpRate    *uint64      `json:"upload_bits_per_second"`
	Down      *count       `json:"download_bytes"`
	Up        *count       `json:"upload_bytes"`
	RTT       *int64       `json:"rtt_ns"`
	Lost      *int64       `json:"lost"`
	Can       bool         `json:"can_stop"`
	Ended     bool         `json:"ended"`
	Reason    *string      `json:"reason"`
	History   [][]*float64 `json:"history"` // seconds, download and upload in bit/s
}

func (s *Site) liveJSON(n news, v *visitor) liveAnswer {
	a := liveAnswer{Reset: n.reset, Tests: make([]liveTestOut, 0, len(n.tests))}
	for _, t := range n.tests {
		a.Tests = append(a.Tests, s.liveOut(t, v))
	}
	return a
}

func (s *Site) liveOut(t liveTest, v *visitor) liveTestOut {
	b := t.begin
	o := liveTestOut{
		ID: b.Run, Protocol: b.Protocol, Transport: string(b.Transport), Direction: b.Direction.String(), Username: v.name(b.Account),
		Peer: b.Peer.Addr().Unmap().WithZone("").String(), Started: stamp(b.Time), Streams: b.Streams,
		Down: counted(t.down), Up: counted(t.up), Lost: t.lost, Ended: t.end != nil, History: [][]*float64{},
	}
	if t.rtt != nil {
		o.RTT = new(int64(*t.rtt))
	}
	for _, one := range t.samples {
		o.History = append(o.History, []*float64{new(one.end.Seconds()), float(one.down), float(one.up)})
		o.Elapsed, o.DownRate, o.UpRate = new(one.end.Seconds()), one.down, one.up
	}
	if t.end != nil {
		o.Reason = &t.end.Reason
	} else {
		o.Can = v.admin() && s.State.Stops.Can(b.Run)
	}
	return o
}

func float(n *uint64) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}

func (s *Site) apiStop(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id := result.ID(r.PathValue("id"))
	if !s.State.Stops.Stop(id, v.login.Name) {
		return notFound("no such test runs, or it cannot be stopped")
	}
	s.log().Info("a test is stopped", "run", string(id), "by", v.login.Name)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
