package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// bouts are what is measured on each network.
func bouts() []bout {
	var all []bout
	for _, n := range []int{1, 2, 4} {
		all = append(all, bout{name: fmt.Sprintf("tcp %d", n), kind: "tcp", n: n})
	}
	for _, size := range []int{64, 512, 1450, 8192} {
		all = append(all, bout{name: fmt.Sprintf("udp %d", size), kind: "udp", n: size})
	}
	return all
}

// measure runs all bouts on a network and prints their tables.
func (l *lab) measure(ctx context.Context, n *network, o options) error {
	fmt.Printf("\n## %s\n\n", n.name)
	fmt.Println("| case | program | Gbit/s | range | Mpps | lost % | own drops % | CPU s/Gbit | × iperf3 | × plain Go | % of C | mallocs | technique |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, b := range bouts() {
		if !o.only.MatchString(n.name+" "+b.name) || n.name == "veth" && b.kind == "udp" && b.n > 1472 {
			continue
		}
		cs := l.contenders()
		if o.programs {
			cs = l.programs()
		}
		results := make(map[string][]outcome)
		for round := range o.rounds {
			order := slices.Clone(cs)
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, c := range order {
				out, err := l.try(ctx, n, c, b, o)
				if err != nil {
					return err
				}
				results[c.name] = append(results[c.name], out)
			}
		}
		for _, c := range cs {
			fmt.Println(row(b, c.name, results))
		}
	}
	if o.programs {
		return nil
	}
	if err := l.both(ctx, n, o); err != nil {
		return err
	}
	return l.rates(ctx, n, o)
}

// row is one line of the table.
func row(b bout, name string, all map[string][]outcome) string {
	mine := all[name]
	bits := values(mine, outcome.bits)
	cells := []string{b.name, name, fmt.Sprintf("%.2f", median(bits)/1e9), fmt.Sprintf("%.2f..%.2f", slices.Min(bits)/1e9, slices.Max(bits)/1e9)}
	if b.kind == "udp" {
		cells = append(cells, fmt.Sprintf("%.3f", median(values(mine, outcome.pps))/1e6), share(mine, func(o outcome) float64 { return float64(o.Lost) }),
			share(mine, func(o outcome) float64 { return float64(o.Dropped) }))
	} else {
		cells = append(cells, "", "", "")
	}
	cells = append(cells, fmt.Sprintf("%.4f", median(values(mine, outcome.cpuPerGbit))))
	for _, other := range []string{"iperf3", "plain Go", "C"} {
		cells = append(cells, ratio(mine, all[other], other == "C"))
	}
	mallocs := values(mine, func(o outcome) float64 { return float64(o.Mallocs) })
	cells = append(cells, fmt.Sprintf("%.0f", median(mallocs)), mine[0].Technique)
	return "| " + strings.Join(cells, " | ") + " |"
}

// ratio is the ratio of rates round by round: median [min..max].
func ratio(mine, other []outcome, percent bool) string {
	if len(other) == 0 {
		return "–"
	}
	var rs []float64
	for i := range mine {
		rs = append(rs, mine[i].bits()/other[i].bits())
	}
	if percent {
		return fmt.Sprintf("%.0f", 100*median(rs))
	}
	return fmt.Sprintf("%.2f [%.2f..%.2f]", median(rs), slices.Min(rs), slices.Max(rs))
}

// share is the median of a count as percent of the packets sent.
func share(of []outcome, count func(outcome) float64) string {
	return fmt.Sprintf("%.2f", median(values(of, func(o outcome) float64 {
		return 100 * count(o) / max(1, float64(o.Packets)+float64(o.Lost))
	})))
}

func values(of []outcome, f func(outcome) float64) []float64 {
	var v []float64
	for _, o := range of {
		v = append(v, f(o))
	}
	return v
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// setup tells what silently differs between machines.
func setup(l *lab) string {
	say := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(b))
	}
	present := []string{"plain Go"}
	for _, p := range []struct{ path, name string }{{l.ref, "C"}, {l.perf, "iperf3"}} {
		if p.path != "" {
			present = append(present, p.name)
		}
	}
	return fmt.Sprintf("%s, %s %s, %d CPUs, GOMAXPROCS %d, %s, kernel %s\n"+
		"default congestion control %s (the benchmark sets cubic), rmem_max %s, wmem_max %s; compared with %s\n",
		time.Now().UTC().Format(time.RFC3339), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.GOMAXPROCS(0), runtime.Version(),
		say("/proc/sys/kernel/osrelease"), say("/proc/sys/net/ipv4/tcp_congestion_control"), say("/proc/sys/net/core/rmem_max"),
		say("/proc/sys/net/core/wmem_max"), cmp.Or(strings.Join(present, ", "), "nothing"))
}
