package cli

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/rperf"
	"github.com/sonde-net/sonde/rperf/wire"
)

func rperfCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rperf",
		Short: "rperf's throughput test, as client and server",
		Long: `rperf's throughput test, for links that lose packets and come and go.
-b counts BYTES per second, as rperf does: -b 125000 is 1 Mbit/s; so are -b 1m
(small letter: bits) and -b 0.125M (capital letter: bytes). --rate counts BITS
per second, as everywhere in sonde: --rate 1M. Both are for each stream; without
either a stream gets rperf's 1 Mbit/s. --rate 0 is as fast as the path allows.

A link or copy of sonde that is named rperf takes the flags of rperf 0.1.8 and
prints its reports.`,
	}
	cmd.AddCommand(rperfClientCommand(e), rperfServerCommand(e))
	return cmd
}

// A byteRate is the value of rperf's -b. It is kept in bit/s, as rates are.
type byteRate struct{ to *rate }

// String is the value in bytes/s.
func (r byteRate) String() string {
	if r.to == nil {
		return ""
	}
	return fmt.Sprint(uint64(*r.to) / 8)
}

// Type names the kind of value in help texts.
func (r byteRate) Type() string { return "bytes/s" }

// Set parses text. What rperf would take for the least rate is refused: nobody
// means that.
func (r byteRate) Set(text string) error {
	n, err := wire.ParseRate(text)
	if err != nil || strings.HasPrefix(text, "-") || strings.Trim(text, "0.kmgKMG") == "" || n > math.MaxInt64/8 {
		return fmt.Errorf("not a rate; give bytes/s such as 125000, with k, m, g for bits/s (1m) or K, M, G for bytes/s (12.5M); --rate takes bits/s, and 0 for no limit")
	}
	*r.to = rate(8 * n)
	return nil
}

// A portList is a flag value: ports such as 1-10,19,21.
type portList struct{ to *[]uint16 }

// String is the list as Set takes it.
func (p portList) String() string {
	if p.to == nil {
		return ""
	}
	var parts []string
	for rest := slices.Clone(*p.to); len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n] == rest[n-1]+1 {
			n++
		}
		part := fmt.Sprint(rest[0])
		if n > 1 {
			part += fmt.Sprintf("-%d", rest[n-1])
		}
		parts, rest = append(parts, part), rest[n:]
	}
	return strings.Join(parts, ",")
}

// Type names the kind of value in help texts.
func (p portList) Type() string { return "ports" }

// Set parses text.
func (p portList) Set(text string) error {
	ports, err := rperf.ParsePorts(text)
	if err != nil {
		return fmt.Errorf("not a list of ports; give numbers and ranges, such as 5200-5210,5300")
	}
	*p.to = ports
	return nil
}

// registerRperfPorts registers the pools from which receiving ports are taken.
func registerRperfPorts(fs *pflag.FlagSet, p *rperf.Ports) {
	fs.Var(portList{&p.TCP}, "tcp-port-pool", "ports to receive streams on over TCP and IPv4; without a list any port")
	fs.Var(portList{&p.TCP6}, "tcp6-port-pool", "the same over IPv6")
	fs.Var(portList{&p.UDP}, "udp-port-pool", "ports to receive streams on over UDP and IPv4")
	fs.Var(portList{&p.UDP6}, "udp6-port-pool", "the same over IPv6")
}

// seconds is a flag value as rperf takes it: seconds with a fraction, without a
// unit.
type seconds float64

// String is the value as Set takes it.
func (s *seconds) String() string { return strconv.FormatFloat(float64(*s), 'g', -1, 64) }

// Type names the kind of value in help texts.
func (s *seconds) Type() string { return "seconds" }

// Set parses text.
func (s *seconds) Set(text string) error {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.Abs(n) > wire.MaxDuration {
		return errors.New("not a number of seconds; give one such as 10 or 2.5")
	}
	*s = seconds(n)
	return nil
}

// duration is the time; none when it is negative.
func (s seconds) duration() time.Duration {
	return time.Duration(max(0, float64(s)) * float64(time.Second))
}
