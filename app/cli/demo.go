package cli

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp"
)

// demoPorts are the UDP ports of the demo's server: away from the protocol's
// own, so that a server on this machine is not in the way.
var demoPorts = btest.PortRange{First: 42001, Last: 42100}

func demoCommand(e *env) *cobra.Command {
	each := duration(3 * time.Second)
	o := newOutput(e)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "a short test of this machine against itself",
		Long: `Start a btest server and a STAMP reflector on free loopback ports, run a short
TCP test, a short UDP test both ways and some round trips against them, and stop
them again; then a mesh of a server and three nodes. Nothing leaves the machine.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if each == 0 {
				return misuse("", "--duration 0: a demo has an end; give 1s or more")
			}
			return demo(cmd.Context(), o, time.Duration(each))
		},
	}
	cmd.Flags().VarP(&each, "duration", "d", "time of data of each test")
	o.register(cmd.Flags())
	return cmd
}

// A demonstration is one test of the demo.
type demonstration struct {
	title string
	run   func(context.Context, result.Sink) error
}

// demo runs the demonstrations against a server of its own.
func demo(ctx context.Context, o *output, each time.Duration) error {
	sink, err := o.open(false)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		err = cannotListen("127.0.0.1:0", err)
		sink.Put(failure(btest.Protocol, result.Client, err))
		return err
	}
	serving, stop := context.WithCancel(ctx)
	server := btest.Server{UDPPorts: demoPorts}
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, l) }()
	defer func() { stop(); <-served }()

	var ends []result.End
	keep := result.Func(func(ev result.Event) {
		if end, ok := ev.(result.End); ok {
			ends = append(ends, end)
		}
	})
	reflector, reflected, err := reflect(serving)
	if err != nil {
		sink.Put(failure(twamp.StampProtocol, result.Sender, err))
		return err
	}
	defer func() { stop(); <-reflected }()
	for _, d := range append(demonstrations(l.Addr().String(), each), roundTrips(reflector)) {
		o.say("\n%s\n", d.title)
		if err := d.run(ctx, judged(result.Tee(sink, keep))); err != nil {
			return err
		}
	}
	if err := demoMesh(ctx, o); err != nil {
		return err
	}
	o.say("\n%s", demoSummary(ends))
	return o.close()
}

// say prints words around the results, where those are for a person.
func (o *output) say(format string, args ...any) {
	if !o.machine() && !o.quiet && o.file == "" && o.csv != "-" {
		fmt.Fprintf(o.env.out, format, args...)
	}
}

func demonstrations(target string, each time.Duration) []demonstration {
	tcp := &btest.Client{Target: target, Direction: result.Both, Duration: each, Latency: true}
	udp := &btest.Client{Target: target, UDP: true, Direction: result.Both, Duration: each, DownRate: 100e6, UpRate: 100e6, Latency: true}
	return []demonstration{
		{"TCP, both ways, as fast as this machine can:", tcp.Run},
		{"UDP, both ways, 100 Mbit/s asked:", udp.Run},
	}
}

// reflect runs a reflector on a free loopback port until ctx ends; then reflected
// is closed.
func reflect(ctx context.Context) (address string, reflected <-chan struct{}, err error) {
	c, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		return "", nil, cannotListen("127.0.0.1:0", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&twamp.Reflector{}).Serve(ctx, c) // the sender tells that nothing comes back
	}()
	return c.LocalAddr().String(), done, nil
}

// roundTrips is the demonstration of packets that come back.
func roundTrips(reflector string) demonstration {
	g := &twamp.Pinger{Addr: reflector}
	g.Count, g.Interval = 100, 10*time.Millisecond
	return demonstration{"STAMP, 100 round trips:", func(ctx context.Context, sink result.Sink) error {
		return interruptedTest(ctx, sink, g.Run)
	}}
}

// demoSummary says in words what the tests of the demo found.
func demoSummary(ends []result.End) string {
	var s strings.Builder
	s.WriteString("It works: a client and a server of sonde tested this machine against itself.\n")
	for _, end := range ends {
		for _, r := range end.RoundTrips {
			if r.RTT != nil {
				fmt.Fprintf(&s, "  STAMP         %14s median round trip, %d of %d packets lost\n", report.FormatDelay(r.RTT.Delay.P50), r.Lost, r.Sent)
			}
		}
		for _, d := range result.Both.Each() {
			v := end.Local(d)
			if v == nil {
				continue
			}
			over := "TCP"
			if v.Packets != nil {
				over = "UDP"
			}
			if r := result.Rate(v.Bytes, end.Elapsed); r != nil {
				fmt.Fprintf(&s, "  %s %-8s  %14s\n", over, d, report.FormatRate(*r))
			}
		}
	}
	s.WriteString(`Nothing left the machine, so these are its own speed, not a network's. Next:
  sonde btest client ROUTER      against a MikroTik router with bandwidth-server on
  sonde btest server             and on a router: /tool/bandwidth-test THIS-MACHINE
  sonde stamp ping ROUTER        delay and loss to a reflector; sonde twamp ping if it speaks TWAMP
`)
	return s.String()
}
