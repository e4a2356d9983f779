// Admission measures what quotas cost on the data path: the same bulk traffic over
// loopback without a budget, with a number of bytes as budget, and with one of
// quota.Policy on a store of SQLite, with quotas of a user and of an address, both ways
// together and one way. The second says what a budget costs, the third what the store
// adds, whose steps a second it shows too. Only the receiving end has the budget, as
// the server of an upload.
//
//	go run ./bench/admission [-rounds n] [-time d]
//
// The three take turns. Besides the rate it compares the CPU time that a
// byte took, which other work on the machine disturbs less. It is a benchmark, not a
// test: it has no threshold.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/internal/host"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
)

func main() {
	rounds := flag.Int("rounds", 15, "rounds, each of three runs")
	length := flag.Duration("time", 400*time.Millisecond, "of one run")
	flag.Parse()
	ctx := context.Background()
	var steps atomic.Int64
	policy, done, err := guarded(ctx, &steps)
	if err != nil {
		log.Fatal(err)
	}
	defer done()
	fmt.Printf("%-15s %8s %8s %8s   %-22s %-22s %-22s %s\n", "Gbit/s", "none", "number", "quota",
		"rate, quota/none", "CPU, quota/none", "CPU, number/none", "steps/s")
	for _, one := range []struct {
		name    string
		streams int
		run     func(context.Context, *admit.Budget, int, time.Duration) (uint64, error)
	}{{"tcp, 1 stream", 1, tcp}, {"tcp, 8 streams", 8, tcp}, {"udp, 1 stream", 1, udp}} {
		var rates, costs [3][]float64 // none, number, quota
		var often []float64
		for n := range *rounds {
			for turn := range 3 {
				kind := (n + turn) % 3
				var budget *admit.Budget
				end := func(uint64) {}
				switch kind {
				case 1:
					budget = admit.NewBudget(1<<60, "", "")
				case 2:
					g, err := policy.Admit(ctx, admit.Request{Account: "ann", Peer: netip.MustParseAddr("192.0.2.1"), Transmit: true, Receive: true})
					if err != nil {
						log.Fatal(err)
					}
					budget, end = g.Budget, func(n uint64) { g.Settle(0, n) }
				}
				cpu, start, before := used(), time.Now(), steps.Load()
				bytes, err := one.run(ctx, budget, one.streams, *length)
				if err != nil {
					log.Fatal(err)
				}
				took := time.Since(start).Seconds()
				if kind == 2 {
					often = append(often, float64(steps.Load()-before)/took)
				}
				rates[kind] = append(rates[kind], float64(bytes)/took)
				costs[kind] = append(costs[kind], (used()-cpu).Seconds()/float64(bytes))
				end(bytes)
			}
		}
		fmt.Printf("%-15s %8.2f %8.2f %8.2f   %-22s %-22s %-22s %.1f\n", one.name, 8*median(rates[0])/1e9, 8*median(rates[1])/1e9, 8*median(rates[2])/1e9,
			ratio(rates[2], rates[0]), ratio(costs[2], costs[0]), ratio(costs[1], costs[0]), median(often))
	}
}

// stepped counts the steps that a policy takes with its store.
type stepped struct {
	*store.Store
	steps *atomic.Int64
}

func (s stepped) Renew(ctx context.Context, now time.Time, asks []account.Ask) ([]account.Answer, error) {
	s.steps.Add(1)
	return s.Store.Renew(ctx, now, asks)
}

// guarded is the policy of a public server.
func guarded(ctx context.Context, steps *atomic.Int64) (admit.Policy, func(), error) {
	dir, err := os.MkdirTemp("", "sonde-admission-")
	if err != nil {
		return nil, nil, err
	}
	s, err := store.Open(ctx, store.Config{DSN: filepath.Join(dir, "sonde.db")})
	if err != nil {
		return nil, nil, err
	}
	p := &quota.Policy{Ledger: stepped{s, steps}}
	limits := account.Limits{Bytes: map[account.Window]uint64{}}
	for f := range account.Flows {
		limits.Bytes[account.Window{Flow: f}] = 1 << 50
	}
	p.SetRules(quota.Rules{Users: limits, Addresses: limits})
	at := p.At(quota.Server{})
	ctx, stop := context.WithCancel(ctx)
	var runs sync.WaitGroup
	runs.Go(func() { p.Run(ctx) })
	return at, func() { stop(); runs.Wait(); s.Close(); os.RemoveAll(dir) }, nil
}

// tcp sends and receives over n connections.
func tcp(ctx context.Context, b *admit.Budget, n int, length time.Duration) (uint64, error) {
	ctx, stop := context.WithTimeout(ctx, length)
	defer stop()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	var wg sync.WaitGroup
	var receivers []*stream.TCPReceiver
	for range n {
		out, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return 0, err
		}
		in, err := l.Accept()
		if err != nil {
			return 0, err
		}
		from, err := sock.Bulk(out)
		if err != nil {
			return 0, err
		}
		to, err := sock.Bulk(in)
		if err != nil {
			return 0, err
		}
		defer from.Close()
		defer to.Close()
		s := &stream.TCPSender{Conn: from, Block: make([]byte, 32<<10)}
		r := &stream.TCPReceiver{Conn: to, Budget: b.In()}
		receivers = append(receivers, r)
		wg.Go(func() { _ = s.Run(ctx) }) // ends with ctx
		wg.Go(func() { _ = r.Run(ctx) })
	}
	wg.Wait()
	var bytes uint64
	for _, r := range receivers {
		bytes += r.View().Bytes
	}
	return bytes, nil
}

// udp sends and receives datagrams of 1450 bytes.
func udp(ctx context.Context, b *admit.Budget, _ int, length time.Duration) (uint64, error) {
	ctx, stop := context.WithTimeout(ctx, length)
	defer stop()
	free := netip.MustParseAddrPort("127.0.0.1:0")
	in, err := sock.ListenPackets(ctx, free, sock.PacketOptions{})
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := sock.ListenPackets(ctx, free, sock.PacketOptions{})
	if err != nil {
		return 0, err
	}
	defer out.Close()
	to := in.LocalAddrPort()
	s := &stream.Sender{Conn: out, To: func() netip.AddrPort { return to }, Size: 1450}
	r := &stream.Receiver{Conn: in, Budget: b.In()}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) }) // ends with ctx
	wg.Go(func() { _ = r.Run(ctx) })
	wg.Wait()
	return r.View().Bytes, nil
}

// used is the CPU time of this process.
func used() time.Duration {
	spent, ok := host.Spent()
	if !ok {
		log.Fatal("this system does not tell the CPU time of a process")
	}
	return spent
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// ratio is the median of the rounds' ratios, and where the middle half of them lies.
func ratio(of, to []float64) string {
	var all []float64
	for n := range of {
		all = append(all, of[n]/to[n])
	}
	slices.Sort(all)
	return fmt.Sprintf("%.3f [%.3f..%.3f]", median(all), all[len(all)/4], all[len(all)*3/4])
}
