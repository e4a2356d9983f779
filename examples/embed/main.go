// Embed shows sonde's packages in another program: a bandwidth-test server with
// a policy, live counters and a sink of its own, and a client that tests
// against it until the policy's budget ends the test.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/result"
)

// budget is what one address may move, upload and download together.
const budget = 20_000_000 // bytes

// perAddress is an admit.Policy: every address has one budget for all its
// tests, and a test may take five seconds at 200 Mbit/s.
type perAddress struct {
	mu      sync.Mutex // guards budgets
	budgets map[string]*admit.Budget
}

// Admit implements admit.Policy.
func (p *perAddress) Admit(_ context.Context, r admit.Request) (*admit.Grant, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := r.Peer.String()
	if p.budgets[who] == nil {
		p.budgets[who] = admit.NewBudget(budget, "address_budget_exceeded", "bytes of address "+who)
	}
	b := p.budgets[who]
	if left, _ := b.Left(); left == 0 {
		return nil, &admit.RefusedError{Word: "address_budget_exceeded", Text: "nothing is left for " + who}
	}
	return &admit.Grant{
		Budget: b, Time: 5 * time.Second, Rate: 200_000_000,
		Settle: func(sent, received uint64) {
			fmt.Printf("settled: %d bytes sent, %d received\n", sent, received)
		},
	}, nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// The server: policy, counters and sink come from this program.
	var counters admit.Counters
	ends := make(chan result.End, 1)
	server := btest.Server{
		Policy:   &perAddress{budgets: map[string]*admit.Budget{}},
		Counters: &counters,
		Sink: result.Func(func(e result.Event) {
			if end, ok := e.(result.End); ok {
				ends <- end
			}
		}),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, l) }()

	// The client: a download that would take ten seconds.
	client := btest.Client{Target: l.Addr().String(), Duration: 10 * time.Second, Interval: 200 * time.Millisecond}
	err = client.Run(ctx, result.Func(func(e result.Event) {
		if i, ok := e.(result.Interval); ok {
			fmt.Printf("%v to %v: %d bytes\n", i.Start.Round(time.Millisecond), i.End.Round(time.Millisecond), i.Received.Bytes)
		}
	}))
	if result.CodeOf(err) != result.CodePeerLost {
		return fmt.Errorf("the client ended with %v, not because the server closed", err)
	}

	// The server's side of the story: cut by the budget.
	end := <-ends
	var exceeded *admit.ExceededError
	if !errors.As(end.Err, &exceeded) {
		return fmt.Errorf("the server ended with %v, not with the budget", end.Err)
	}
	sent, _ := counters.Bytes()
	begun, _ := counters.Tests()
	fmt.Printf("ended by the server: %v\nlive counters: %d bytes sent in %d test\n", end.Err, sent, begun)
	if sent > budget {
		return fmt.Errorf("%d bytes sent, more than the budget of %d", sent, budget)
	}
	stop()
	return <-served
}
