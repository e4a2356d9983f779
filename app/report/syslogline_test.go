package report

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

func TestSyslogMessage(t *testing.T) {
	line, _ := loginLine(logins()[1].(result.Note))
	for _, tt := range []struct {
		name  string
		paper stationery
		want  string
	}{
		{"RFC 3164", stationery{RFC3164, "edge.example.net", "btest-rs", riga}, "<132>Nov 20 16:36:51 edge btest-rs: " + texts[1]},
		{"RFC 3164, UTC", stationery{RFC3164, "192.0.2.1", "sonde", time.UTC}, "<132>Nov 20 14:36:51 192.0.2.1 sonde: " + texts[1]},
		{"RFC 5424", stationery{RFC5424, "edge.example.net", "sonde", riga},
			"<132>1 2026-11-20T16:36:51.100000+02:00 edge.example.net sonde PID AUTH_FAILURE - " + texts[1]},
		{"no good names", stationery{RFC3164, "a b\n", "", time.UTC}, "<132>Nov 20 14:36:51 ab -: " + texts[1]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := regexp.MustCompile(`sonde \d+ AUTH`).ReplaceAllString(tt.paper.message(line), "sonde PID AUTH")
			if got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// Whatever a name is, its message is one line, short enough, with one event.
func FuzzSyslog(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, account, reason string) {
		line, _ := loginLine(result.Note{Head: result.Head{Time: began}, Code: result.NoteAuthFailure,
			Login: &result.Login{Account: account, Method: "md5", Reason: reason}})
		for _, format := range []SyslogFormat{RFC3164, RFC5424} {
			got := stationery{format, account, "sonde", time.UTC}.message(line)
			if strings.IndexFunc(got, unprintable) >= 0 || strings.ContainsAny(got, lineBreaks) {
				t.Fatalf("%q, %q: control characters in %q", account, reason, got)
			}
			if !strings.HasPrefix(got, "<132>") || !strings.Contains(got, "AUTH_FAILURE peer=- user=") {
				t.Errorf("%q, %q: %q", account, reason, got)
			}
			if len(got) > longest3164 {
				t.Errorf("%d bytes", len(got))
			}
		}
		if got := fields(t, line.text); len(got) != 4 || got[1][:5] != "user=" || got[3][:7] != "reason=" {
			t.Errorf("%q, %q: fields %q", account, reason, got)
		}
	})
}

// fields splits an event into its fields, as a reader of logs does.
func fields(t *testing.T, text string) []string {
	t.Helper()
	_, rest, _ := strings.Cut(text, " ")
	pattern := regexp.MustCompile(`^(\w+=(?:"(?:[^"\\]|\\.)*"|[^ "]*))(?: |$)`)
	var all []string
	for rest != "" {
		m := pattern.FindStringSubmatch(rest)
		if m == nil {
			t.Fatalf("no field at %q of %q", rest, text)
		}
		all = append(all, m[1])
		rest = rest[len(m[0]):]
	}
	return all
}
