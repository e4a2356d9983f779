package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/sonde-net/sonde/result"
)

// An eventLine is one of the events that btest-rs logs, by their names there,
// with its fields in their order there. Field users match on them.
type eventLine struct {
	at       time.Time
	severity int    // RFC 5424, table 2
	name     string // such as "TEST_END"
	text     string // name and fields
}

// The severities that the events have.
const (
	severityWarning = 4
	severityInfo    = 6
)

// mostField bounds a field that a peer fills, in bytes.
const mostField = 128

// field returns a value that keeps its line one line and its field one field:
// without control characters, quoted if it has blanks or quotes, "-" if empty.
func field(s string) string {
	s = strings.Map(func(r rune) rune {
		if unprintable(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = clip(s, mostField)
	switch {
	case s == "":
		return unknown
	case s == unknown || strings.ContainsAny(s, ` "\=`):
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return s
}

// loginLine tells of a login; false when n does not.
func loginLine(n result.Note) (eventLine, bool) {
	l := n.Login
	if l == nil {
		return eventLine{}, false
	}
	line := eventLine{at: n.Time, severity: severityInfo, name: "AUTH_SUCCESS"}
	fields := fmt.Sprintf(" peer=%s user=%s type=%s", addrPort(l.Peer), field(l.Account), field(l.Method))
	if l.Reason != "" || n.Code == result.NoteAuthFailure {
		line.severity, line.name = severityWarning, "AUTH_FAILURE"
		fields += " reason=" + field(l.Reason)
	}
	line.text = line.name + fields
	return line, true
}

// startLine tells that a test has begun.
func startLine(b result.Begin) eventLine {
	return eventLine{at: b.Time, severity: severityInfo, name: "TEST_START",
		text: fmt.Sprintf("TEST_START %s connections=%d", testFields(b), cmp.Or(b.Streams, 1))}
}

// endLine tells what a test moved.
func endLine(r record) eventLine {
	role := r.end.Role
	tx, rx := transmit(role), receive(role)
	return eventLine{at: r.end.Time, severity: severityInfo, name: "TEST_END",
		text: fmt.Sprintf("TEST_END %s duration=%ss tx_avg=%s rx_avg=%s tx_bytes=%s rx_bytes=%s lost=%s",
			testFields(r.begin), r.wholeSeconds(),
			average(r.megabits(tx)), average(r.megabits(rx)),
			r.or(integer(r.bytes(tx)), unknown), r.or(integer(r.bytes(rx)), unknown),
			r.or(integer(r.lost()), unknown))}
}

// average is a rate with its unit.
func average(megabits string) string {
	if megabits == "" {
		return unknown
	}
	return megabits + "Mbps"
}

// testFields are common to the start and the end of a test. The peer is an
// address with its port at a server, the target's name at a client.
func testFields(b result.Begin) string {
	peer := addrPort(b.Peer)
	if b.Target != "" {
		host, _ := hostPort(b)
		peer = field(host)
	}
	return fmt.Sprintf("peer=%s proto=%s dir=%s", peer, strings.ToUpper(string(b.Transport)), localDirection(b.Role, b.Direction))
}
