package cli

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/result"
)

// syslogFlags say where events go by syslog.
type syslogFlags struct {
	at     string
	format string
	tag    string
	utc    bool
}

func (f *syslogFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.at, "syslog", "", "send logins, starts and ends of tests to `HOST:PORT` by UDP, or to udp://, tcp:// or tls://HOST:PORT")
	fs.StringVar(&f.format, "syslog-format", string(report.RFC3164), "`KIND` of syslog lines: rfc3164 or rfc5424")
	fs.StringVar(&f.tag, "syslog-tag", "", "program `NAME` in syslog lines (default sonde)")
	fs.BoolVar(&f.utc, "syslog-utc", false, "syslog times in UTC instead of local time")
}

// open makes the sink, nil without --syslog. The borrowed name counts as that
// program did.
func (f *syslogFlags) open(program string, borrowed bool, log *slog.Logger) (*report.SyslogSink, error) {
	if f.at == "" {
		return nil, nil
	}
	c := report.SyslogConfig{
		Address: f.at, Format: report.SyslogFormat(f.format), Tag: cmp.Or(f.tag, program),
		Location: time.Local, BtestRS: borrowed, Logger: log,
	}
	if f.utc {
		c.Location = time.UTC
	}
	s, err := report.Syslog(c)
	if err != nil && result.CodeOf(err) == result.CodeUsage {
		return nil, misuse("", "%s: %w", flagValue("syslog", f.at), cause(err))
	}
	return s, err
}
