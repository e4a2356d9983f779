package report

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A record is a finished run as the outputs of the older btest programs show
// it: from the view of the end that reports, transmitted and received apart.
type record struct {
	begin result.Begin
	end   result.End
	// btestRS is true under that program's name: bytes are counted with the
	// headers that the protocol counts, and what was not measured is 0.
	btestRS bool
	session int // which one a row is of, in a test by packets that come back
}

// begun is false for a run that failed before anything was agreed.
func (r record) begun() bool { return r.begin.Run != "" }

// hostPort is the far end: the target as the user named it at a client, the
// peer's address at a server.
func hostPort(b result.Begin) (host, port string) {
	if b.Peer.IsValid() {
		host, port = b.Peer.Addr().Unmap().String(), strconv.Itoa(int(b.Peer.Port()))
	}
	if b.Target == "" {
		return host, port
	}
	if h, p, err := net.SplitHostPort(b.Target); err == nil {
		return h, p
	}
	return strings.Trim(b.Target, "[]"), port
}

// localDirection is the direction as the reporting end sees it, in the words
// that btest-rs uses at a client and at a server.
func localDirection(role result.Role, d result.Direction) string {
	words := map[result.Direction]string{result.Down: "receive", result.Up: "send", result.Both: "both"}
	if role == result.Server {
		words = map[result.Direction]string{result.Down: "TX", result.Up: "RX", result.Both: "BOTH"}
	}
	return words[d]
}

// transmit and receive are the directions of the reporting end.
func transmit(role result.Role) result.Direction {
	if role == result.Server {
		return result.Down
	}
	return result.Up
}

func receive(role result.Role) result.Direction { return result.Both &^ transmit(role) }

// bytes counts what the reporting end moved in direction d: nil if it did not
// count, 0 if nothing was to flow that way.
func (r record) bytes(d result.Direction) *uint64 {
	v := r.end.Local(d)
	switch {
	case v != nil:
		return result.Some(counted(*v, r.btestRS))
	case r.btestRS || r.begun() && !r.begin.Direction.Has(d):
		return result.Some[uint64](0)
	}
	return nil
}

// counted is the bytes of v, with the headers the protocol counts if so asked.
func counted(v result.View, wire bool) uint64 {
	if wire && v.WireBytes != nil {
		return *v.WireBytes
	}
	return v.Bytes
}

// megabits is the mean rate of direction d, in 10^6 bit/s with two decimals;
// 0.00 when no time has passed.
func (r record) megabits(d result.Direction) string {
	n := r.bytes(d)
	if n == nil {
		return ""
	}
	elapsed := r.end.Elapsed
	if t := r.end.Total(d); t != nil && t.Elapsed > 0 {
		elapsed = t.Elapsed
	}
	if elapsed <= 0 {
		return "0.00"
	}
	return strconv.FormatFloat(float64(*n)*8/1e6/elapsed.Seconds(), 'f', 2, 64)
}

// lost is the number of packets that were lost on their way to the reporting
// end or, if it only sent, on their way to the other.
func (r record) lost() *int64 {
	d := receive(r.end.Role)
	if !r.begin.Direction.Has(d) {
		d = transmit(r.end.Role)
	}
	if t := r.end.Total(d); t != nil {
		lost, _ := lossOf(t.Received)
		return lost
	}
	return nil
}

// wholeSeconds is the length of the test, rounded.
func (r record) wholeSeconds() string {
	return strconv.FormatInt(int64(r.end.Elapsed.Round(time.Second)/time.Second), 10)
}

// or is text, or the stand-in for a figure that was not measured.
func (r record) or(text, standIn string) string {
	if text != "" {
		return text
	}
	if r.btestRS {
		return "0"
	}
	return standIn
}

// integer prints the figure p points to, or nothing.
func integer[T int64 | uint64](p *T) string {
	if p == nil {
		return ""
	}
	return strconv.FormatInt(int64(*p), 10)
}

func addrPort(a netip.AddrPort) string {
	if !a.IsValid() {
		return unknown
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
}
