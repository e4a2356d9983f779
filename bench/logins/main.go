// Logins measures whether a btest server tells by its time who exists: it fails
// to log in as users with a wrong password, as names that nobody has and as
// disabled users, of a store of 1000 accounts, and compares the classes by rank.
//
//	go run ./bench/logins [-each n] [-at-once n]
//
// Every login comes from an address of its own (127/8, Linux), so that the
// back-off of addresses does not end it, and names are spread, so that the one of
// accounts does not either. Classes take turns at random. It is a benchmark, not a
// test: it has no threshold.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	mrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
)

// The classes of logins that fail.
var classes = []string{"wrong password", "unknown user", "disabled user"}

// names is how many names a class is spread over.
const names = 300

func main() {
	each := flag.Int("each", 2000, "logins of each class")
	atOnce := flag.Int("at-once", 16, "logins in progress at once")
	flag.Parse()
	if err := run(context.Background(), *each, *atOnce); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, each, atOnce int) error {
	dir, err := os.MkdirTemp("", "logins-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := store.Open(ctx, store.Config{DSN: filepath.Join(dir, "sonde.db")})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := fill(ctx, s); err != nil {
		return err
	}
	for _, method := range []btest.Auth{btest.AuthMD5, btest.AuthSRP5} {
		if err := measure(ctx, s, method, each, atOnce); err != nil {
			return err
		}
	}
	return nil
}

// fill makes 1000 accounts, of which some are disabled.
func fill(ctx context.Context, s *store.Store) error {
	for n := range 1000 {
		name := fmt.Sprintf("user-%04d", n)
		a := account.Account{Name: name, Disabled: n >= names && n < 2*names}
		if err := s.CreateAccount(ctx, time.Now(), a, store.NewSecrets(name, rand.Text(), true)); err != nil {
			return err
		}
	}
	return nil
}

// nameOf is the nth name of a class.
func nameOf(class, n int) string {
	n %= names
	switch class {
	case 1:
		return fmt.Sprintf("user-%04d", 5000+n)
	case 2:
		return fmt.Sprintf("user-%04d", names+n)
	}
	return fmt.Sprintf("user-%04d", n)
}

// accounts looks up in the store, and times it.
type accounts struct {
	store *store.Store
	mu    sync.Mutex // guards took
	took  map[string]time.Duration
}

func (a *accounts) Account(ctx context.Context, name string) (btest.Account, bool, error) {
	start := time.Now()
	c, err := a.store.Credentials(ctx, name)
	took := time.Since(start)
	a.mu.Lock()
	a.took[name] = took
	a.mu.Unlock()
	if store.IsNotFound(err) {
		return btest.Account{}, false, nil
	}
	return btest.Account{Record: c.Record, Password: c.Password, Disabled: c.Disabled}, err == nil, err
}

// times are the samples of each class, in seconds.
type times [3][]float64

// measure fails to log in by one method.
func measure(ctx context.Context, s *store.Store, method btest.Auth, each, atOnce int) error {
	key, err := s.Key(ctx)
	if err != nil {
		return err
	}
	known := &accounts{store: s, took: map[string]time.Duration{}}
	server := &btest.Server{Accounts: known, Auth: method, Decoys: key.Derive("btest decoys"), Logins: -1, LoginsPerAddress: -1, Connections: -1, ConnectionsPerAddress: -1}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	defer func() { stop(); <-done }()
	order := make([]int, 3*each)
	for i := range order {
		order[i] = i
	}
	mrand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var mu sync.Mutex
	var keys, ends, lookups times
	var failures []error
	var wg sync.WaitGroup
	work := make(chan int)
	for range atOnce {
		wg.Go(func() {
			for n := range work {
				class, name := n%3, nameOf(n%3, n/3)
				k, e, err := fail(l.Addr().String(), n, method, name)
				mu.Lock()
				if err != nil {
					failures = append(failures, err)
				} else {
					keys[class] = append(keys[class], k.Seconds())
					ends[class] = append(ends[class], e.Seconds())
					known.mu.Lock()
					lookups[class] = append(lookups[class], known.took[name].Seconds())
					known.mu.Unlock()
				}
				mu.Unlock()
			}
		})
	}
	for _, n := range order {
		work <- n
	}
	close(work)
	wg.Wait()
	if len(failures) > 0 {
		fmt.Printf("%d logins did not go through, such as: %v\n", len(failures), failures[0])
	}
	if method == btest.AuthSRP5 {
		show(string(method), "client's key to server's key", keys)
	}
	show(string(method), "answer to the end", ends)
	show(string(method), "for comparison, inside: the lookup", lookups)
	return nil
}

// fail logs in with a wrong password from an address of its own.
func fail(to string, n int, method btest.Auth, name string) (key, end time.Duration, err error) {
	from := net.TCPAddr{IP: net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))}
	c, err := (&net.Dialer{LocalAddr: &from}).Dial("tcp", to)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	b := make([]byte, wire.HelloLen)
	if _, err := io.ReadFull(c, b); err != nil {
		return 0, 0, err
	}
	command, err := wire.Command{Transport: wire.TCP, Direction: wire.Transmit, Size: 1500}.AppendBinary(nil)
	if err != nil {
		return 0, 0, err
	}
	if _, err := c.Write(command); err != nil {
		return 0, 0, err
	}
	if b = make([]byte, wire.ReplyLen); method == btest.AuthMD5 {
		b = make([]byte, wire.ReplyLen+16)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		return 0, 0, err
	}
	var answer []byte
	if method == btest.AuthMD5 {
		answer, err = wire.Response{Hash: auth.MD5("wrong", [16]byte(b[wire.ReplyLen:])), Name: name}.AppendBinary(nil)
	} else {
		key, answer, err = exchangeKeys(c, name)
	}
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if _, err := c.Write(answer); err != nil {
		return 0, 0, err
	}
	rest, err := io.ReadAll(c)
	end = time.Since(start)
	if err == nil && len(rest) > wire.ReplyLen {
		err = errors.New("let in")
	}
	return key, end, err
}

// exchangeKeys runs an EC-SRP5 login up to the confirmation.
func exchangeKeys(c net.Conn, name string) (took time.Duration, confirm []byte, err error) {
	role, err := auth.NewClient(name, "wrong", rand.Reader)
	if err != nil {
		return 0, nil, err
	}
	b, err := role.Key().AppendBinary(nil)
	if err != nil {
		return 0, nil, err
	}
	start := time.Now()
	if _, err := c.Write(wire.AppendFrame(nil, b)); err != nil {
		return 0, nil, err
	}
	frame := make([]byte, 50)
	if _, err := io.ReadFull(c, frame); err != nil {
		return 0, nil, err
	}
	took = time.Since(start)
	key, err := wire.ParseServerKey(frame[1:])
	if err != nil {
		return 0, nil, err
	}
	sum, err := role.Confirm(key)
	return took, wire.AppendFrame(nil, sum[:]), err
}

// show prints the classes, and how well each two can be told apart.
func show(method, what string, t times) {
	fmt.Printf("\n%s, %s\n", method, what)
	for class, name := range classes {
		x := slices.Sorted(slices.Values(t[class]))
		if len(x) == 0 {
			continue
		}
		at := func(q float64) float64 { return x[int(q*float64(len(x)-1))] * 1e3 }
		fmt.Printf("  %-15s n %d, ms: 5 %% %.4f, median %.4f, 95 %% %.4f\n", name, len(x), at(0.05), at(0.5), at(0.95))
	}
	for _, pair := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
		auc, p := mannWhitney(t[pair[0]], t[pair[1]])
		fmt.Printf("  %s against %s: the first is slower in %.1f %% of pairs, p %.3g\n", classes[pair[0]], classes[pair[1]], 100*auc, p)
	}
}

// mannWhitney is the share of pairs in which x is larger, ties counting half, and
// the two-sided p value of that by the normal approximation, corrected for ties.
func mannWhitney(x, y []float64) (share, p float64) {
	type sample struct {
		v     float64
		first bool
	}
	var all []sample
	for _, v := range x {
		all = append(all, sample{v, true})
	}
	for _, v := range y {
		all = append(all, sample{v, false})
	}
	slices.SortFunc(all, func(a, b sample) int { return cmp.Compare(a.v, b.v) })
	n1, n2, n := float64(len(x)), float64(len(y)), float64(len(all))
	var ranks, ties float64
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		for k := i; k < j; k++ {
			if all[k].first {
				ranks += float64(i+j+1) / 2
			}
		}
		same := float64(j - i)
		ties += same*same*same - same
		i = j
	}
	u := ranks - n1*(n1+1)/2
	sigma := math.Sqrt(n1 * n2 / 12 * (n + 1 - ties/(n*(n-1))))
	return u / (n1 * n2), math.Erfc(math.Abs(u-n1*n2/2) / sigma / math.Sqrt2)
}
