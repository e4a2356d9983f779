// Bench measures sonde's data plane beside others on this machine: a careful
// plain Go program, a small C program with the same system calls, and iperf3
// where installed. It is a benchmark, not a test: it has no thresholds.
//
//	go run ./bench [-only regexp] [-rounds n] [-time d] [-net lo,veth]
//
// Compared programs run in pairs of processes, one after the other, interleaved
// and in reverse order every second round; each run waits for a quiet machine
// and is repeated when others took much of it. Rates are counted at the
// receiver after a warm-up. The table shows medians, and for each round the
// ratio to iperf3 and to the plain program as median and range. TCP uses cubic,
// set per socket, since a machine's default may be bbr, which halves rates over
// loopback.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"
)

// options are what a user may choose.
type options struct {
	only   *regexp.Regexp
	rounds int
	time   time.Duration
	warm   time.Duration
	nets   []string
	calm   bool // wait for a quiet machine

	programs bool // whole programs instead of the data plane alone
}

func main() {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "as-") {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		if err := play(ctx, os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	only := flag.String("only", "", "run only the cases whose name matches this `regexp`, such as 'lo tcp' or 'udp 1450'")
	nets := flag.String("net", "lo,veth", "where: lo, veth, or both")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; medians of fewer than 3 say little")
	flag.DurationVar(&o.time, "time", 800*time.Millisecond, "time measured in one run")
	flag.DurationVar(&o.warm, "warm", 300*time.Millisecond, "time before that")
	flag.BoolVar(&o.calm, "calm", true, "wait for a quiet machine before each run and repeat disturbed runs")
	flag.BoolVar(&o.programs, "programs", false, "compare whole programs: sonde and iperf3, each way round, and sonde's rperf")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(*only); err != nil || flag.NArg() > 0 || o.rounds < 1 || o.time <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	o.nets = strings.Split(*nets, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures all cases on all networks.
func run(ctx context.Context, o options) error {
	lab, err := newLab()
	if err != nil {
		return err
	}
	defer lab.close()
	if o.programs {
		if err := lab.build(); err != nil {
			return err
		}
	}
	fmt.Print(setup(lab))
	for _, name := range o.nets {
		n, err := openNetwork(name)
		if err != nil {
			fmt.Printf("\n%s: left out: %v\n", name, err)
			continue
		}
		err = lab.measure(ctx, n, o)
		n.close()
		if err != nil {
			return err
		}
	}
	return nil
}
