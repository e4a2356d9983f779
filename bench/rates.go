package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// rateTime is how long a rate is held to be counted.
const rateTime = 10 * time.Second

// rates measures how exactly a rate that was asked for is sent, counted at the
// receiver by the kernel's stamps, and how even the gaps are.
func (l *lab) rates(ctx context.Context, n *network, o options) error {
	gaps := contender{
		name:  "sonde",
		parse: l.player("", l.self).parse,
	}
	o.time = rateTime
	begun := false
	for _, rate := range []uint64{1e6, 100e6, 1e9, 5e9} {
		for _, kind := range []string{"udp", "tcp"} {
			b := bout{name: fmt.Sprintf("rate %s %g", kind, float64(rate)), kind: kind, n: 1450, rate: rate}
			if kind == "tcp" {
				b.n = 1
			}
			if !o.only.MatchString(n.name + " " + b.name) {
				continue
			}
			if !begun {
				fmt.Printf("\n| asked bit/s | over | bit/s at the receiver | error %% | gap µs ideal | p50 | p99 | CPU %% of one |\n|---|---|---|---|---|---|---|---|\n")
				begun = true
			}
			gaps.ends = l.player("", l.self, "as-stream").ends
			if kind == "udp" {
				gaps.ends = l.gapEnds
			}
			out, err := l.try(ctx, n, gaps, b, o)
			if err != nil {
				return err
			}
			ideal := ""
			p50, p99 := "", ""
			if kind == "udp" {
				ideal = fmt.Sprintf("%.1f", 1450*8*1e6/float64(rate))
				p50, p99 = fmt.Sprintf("%.1f", out.GapP50), fmt.Sprintf("%.1f", out.GapP99)
			}
			fmt.Printf("| %g | %s | %.0f | %+.3f | %s | %s | %s | %.0f |\n", float64(rate), kind, out.bits(),
				100*(out.bits()/float64(rate)-1), ideal, p50, p99, 100*out.cpu.Seconds()/(o.warm+o.time).Seconds())
		}
	}
	return nil
}

// gapEnds is our sender with a receiver that looks at the gaps.
func (l *lab) gapEnds(b bout, at netip.AddrPort, o options) (receiver, sender []string) {
	receiver, _ = l.player("", l.self, "as-gaps").ends(b, at, o)
	_, sender = l.player("", l.self, "as-stream").ends(b, at, o)
	return receiver, sender
}
