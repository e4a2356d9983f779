package report

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// A SyslogFormat is the layout of a syslog message.
type SyslogFormat string

// The layouts of syslog messages.
const (
	RFC3164 SyslogFormat = "rfc3164" // BSD syslog, as btest-rs writes it
	RFC5424 SyslogFormat = "rfc5424"
)

// facility is local0 (RFC 5424, table 1), as btest-rs uses.
const facility = 16

// The longest messages that receivers must take: RFC 3164, section 4.1, and
// RFC 5424, section 6.1, which says they should.
const (
	longest3164 = 1024
	longest5424 = 2048
)

// A stationery is what all messages of one sender have in common.
type stationery struct {
	format   SyslogFormat
	host     string
	tag      string
	location *time.Location
}

// message is the event as one syslog message, without framing.
func (s stationery) message(l eventLine) string {
	pri := facility*8 + l.severity
	at := l.at
	if at.IsZero() {
		at = time.Now()
	}
	at = at.In(s.location)
	if s.format == RFC5424 {
		return clip(fmt.Sprintf("<%d>1 %s %s %s %d %s - %s", pri, at.Format("2006-01-02T15:04:05.000000Z07:00"),
			word(s.host, 255), word(s.tag, 48), os.Getpid(), word(l.name, 32), l.text), longest5424)
	}
	return clip(fmt.Sprintf("<%d>%s %s %s: %s", pri, at.Format(time.Stamp),
		word(shortHost(s.host), 255), word(s.tag, 32), l.text), longest3164)
}

// word returns s as a header field: printable ASCII without blanks, "-" if
// nothing is left (RFC 5424, section 6).
func word(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return unknown
	}
	return s[:min(len(s), most)]
}

// shortHost is the host's name without its domain (RFC 3164, section 4.1.2).
func shortHost(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	short, _, _ := strings.Cut(host, ".")
	return short
}

// framed prepares a message for a stream by its length (RFC 6587, section
// 3.4.1, octet counting; RFC 5425, section 4.3).
func framed(message string) string { return strconv.Itoa(len(message)) + " " + message }
