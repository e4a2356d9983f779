package cli

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/report"
)

// syslogFlags say where events go by syslog.
type syslogFlags struct {
	at     string
	format string
	tag    string
	utc    bool
}

func (f *syslogFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.at, "syslog", "", "send logins, starts and ends of tests to HOST:PORT (UDP), udp://, tcp:// or tls://HOST:PORT")
	fs.StringVar(&f.format, "syslog-format", "rfc3164", "rfc3164 or rfc5424")
	fs.StringVar(&f.tag, "syslog-tag", "", "program name in syslog lines (default sonde)")
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
	return report.Syslog(c)
}
