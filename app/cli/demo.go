package cli

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/result"
)

// demoPorts are the UDP ports of the demo's server: away from the protocol's
// own, so that a server on this machine is not in the way.
var demoPorts = btest.PortRange{First: 42001, Last: 42100}

func demoCommand(e *env) *cobra.Command {
	var each duration = duration(3 * time.Second)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "a short test of this machine against itself",
		Long: `Start a btest server on a free loopback port, run a short TCP test and a short
UDP test both ways against it, and stop it again. Nothing leaves the machine.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo(cmd.Context(), e, time.Duration(each)) },
	}
	cmd.Flags().VarP(&each, "duration", "d", "time of data of each test")
	return cmd
}

// A demonstration is one test of the demo.
type demonstration struct {
	title  string
	client btest.Client
}

func demo(ctx context.Context, e *env, each time.Duration) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return cannotListen("127.0.0.1:0", err)
	}
	serving, stop := context.WithCancel(ctx)
	server := btest.Server{UDPPorts: demoPorts}
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, l) }()
	defer func() { stop(); <-served }()

	o := newOutput(e)
	o.color = "auto"
	var ends []result.End
	for _, d := range demonstrations(l.Addr().String(), each) {
		fmt.Fprintf(e.out, "\n%s\n", d.title)
		text := report.Text(e.out, report.TextConfig{Color: o.coloured(), Notes: e.err})
		keep := result.Func(func(ev result.Event) {
			if end, ok := ev.(result.End); ok {
				ends = append(ends, end)
			}
		})
		if err := d.client.Run(ctx, judged(result.Tee(text, keep))); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.out, "\n%s\n", demoSummary(ends))
	return nil
}

func demonstrations(target string, each time.Duration) []demonstration {
	return []demonstration{
		{"TCP, both ways, as fast as this machine can:",
			btest.Client{Target: target, Direction: result.Both, Duration: each, Latency: true}},
		{"UDP, both ways, 100 Mbit/s asked:",
			btest.Client{Target: target, UDP: true, Direction: result.Both, Duration: each, DownRate: 100e6, UpRate: 100e6, Latency: true}},
	}
}

// demoSummary says in words what the tests of the demo found.
func demoSummary(ends []result.End) string {
	s := "What this says: the client and the server of sonde found each other on this machine.\n"
	for _, end := range ends {
		for _, d := range result.Both.Each() {
			v := end.Local(d)
			if v == nil {
				continue
			}
			if r := result.Rate(v.Bytes, end.Elapsed); r != nil {
				what := "over TCP"
				if v.Packets != nil {
					what = "over UDP"
				}
				s += fmt.Sprintf("  %-8s %s  %s\n", d, what, report.FormatRate(*r))
			}
		}
	}
	return s + `Nothing left the machine, so these are its own speed, not a network's. Next:
  sonde btest client ROUTER      against a MikroTik router with bandwidth-server on
  sonde btest server             and on a router: /tool/bandwidth-test THIS-MACHINE`
}
