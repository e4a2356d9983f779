//go:build unix && !nano

package cli

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/internal/testpg"
	"github.com/sonde-net/sonde/result"
)

// A public is a public btest server in this process, on a store.
type public struct {
	*testing.T
	*guard
	addr string
	ends chan result.End
	stop func() // ends the server, and closes the store
}

const megabyte = 1 << 20

// aBatch is what a stream may go beyond its quota by.
const aBatch = 64 << 10

// openPublic serves on the store of dsn with these rules.
func openPublic(t *testing.T, dsn string, rules quota.Rules) *public {
	t.Helper()
	k, err := openKept(t.Context(), store.Config{DSN: dsn, KeyFile: keyFor(t, dsn)})
	if err != nil {
		t.Fatal(err)
	}
	p := &public{T: t, guard: newGuard(t.Context(), slog.New(slog.DiscardHandler), rules, k), ends: make(chan result.End, 1000)}
	s := &btest.Server{Policy: p.policy.At(quota.Server{Members: true}), Logins: -1, LoginsPerAddress: -1, ConnectionsPerAddress: -1}
	s.Sink = p.watch(result.Func(func(e result.Event) {
		if end, ok := e.(result.End); ok {
			p.ends <- end
		}
	}))
	if err := loginFromStore(t.Context(), s, k.store); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	p.stop = sync.OnceFunc(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

// keyFor is one key for all servers of a store.
func keyFor(t *testing.T, dsn string) string {
	keys.Lock()
	defer keys.Unlock()
	if keys.of[dsn] == "" {
		keys.of[dsn] = filepath.Join(t.TempDir(), "key")
	}
	return keys.of[dsn]
}

var keys = struct {
	sync.Mutex
	of map[string]string
}{of: map[string]string{}}

// add adds a user whose password is the name.
func (p *public) add(name string, limits account.Limits) {
	p.Helper()
	if err := p.store.CreateAccount(p.Context(), time.Now(), account.Account{Name: name, Limits: limits}, store.NewSecrets(name, name, true)); err != nil {
		p.Fatal(err)
	}
}

// test runs a client of that user.
func (p *public) test(name string, c btest.Client) error {
	c.Target, c.Account, c.Password = p.addr, name, name
	return c.Run(p.Context(), result.Discard)
}

// end is the next End of the server.
func (p *public) end() result.End {
	p.Helper()
	select {
	case e := <-p.ends:
		return e
	case <-time.After(30 * time.Second):
		p.Fatal("no test has ended")
		return result.End{}
	}
}

// use is what a user has moved, once the books are closed.
func (p *public) use(name string) account.Use {
	p.Helper()
	for until := time.Now().Add(20 * time.Second); !p.policy.Settled(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			p.Fatal("the books are not closed")
		}
	}
	u, err := p.store.Usage(p.Context(), account.Subject{Account: name}, time.Now().Add(-48*time.Hour))
	if err != nil {
		p.Fatal(err)
	}
	return u[0]
}

// underWay waits until a test of ann has moved so much.
func (p *public) underWay(bytes uint64) {
	p.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if u, err := p.store.Usage(p.Context(), account.Subject{Account: "ann"}, time.Now().Add(-time.Hour)); err == nil && u[0].Out+u[0].In >= bytes {
			return
		}
	}
	p.Fatal("no test is under way")
}

func dailyBytes(f account.Flow, n uint64) account.Limits {
	return account.Limits{Bytes: map[account.Window]uint64{{Period: account.Day, Flow: f}: n}}
}

func aStore(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "sonde.db") }

// TestPublicServer is the story of the public server: within the quota a test runs
// its full time, at the quota it is cut, and the next one is refused with the time
// when it works again.
func TestPublicServer(t *testing.T) {
	t.Parallel()
	p := openPublic(t, aStore(t), quota.Rules{})
	p.add("ann", dailyBytes(account.Both, 50*megabyte))
	if err := p.test("ann", btest.Client{Direction: result.Down, DownRate: 8e6, Duration: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	down := p.end()
	if down.Elapsed < 2*time.Second-100*time.Millisecond {
		t.Errorf("a download within the quota ended after %v: %v", down.Elapsed, down.Reason)
	}
	if err := p.test("ann", btest.Client{Direction: result.Up, Duration: 20 * time.Second}); result.ExitCode(err) != 7 {
		t.Errorf("an upload beyond the quota: %v", err)
	}
	up := p.end()
	if up.Reason != "user_daily_quota_exceeded" || up.Moved.Received != up.Up.Received.Bytes {
		t.Errorf("the upload ended because %q, %d came, the total is %d", up.Reason, up.Moved.Received, up.Up.Received.Bytes)
	}
	if moved := down.Moved.Sent + up.Moved.Received; moved < 50*megabyte || moved > 50*megabyte+aBatch {
		t.Errorf("%d bytes moved of %d", moved, 50*megabyte)
	}
	if u := p.use("ann"); u.Out != down.Moved.Sent || u.In != up.Moved.Received {
		t.Errorf("booked %+v, moved %+v and %+v", u, down.Moved, up.Moved)
	}
	if err := p.test("ann", btest.Client{Direction: result.Down, Duration: time.Second}); result.CodeOf(err) != result.CodeRefused {
		t.Errorf("the next one: %v", err)
	}
	if len(p.ends) > 0 {
		t.Error("the next one had a test")
	}
	p.sink.Close()
	told, err := p.store.Refusals(t.Context(), store.Filter{Account: "ann"})
	if err != nil || len(told) != 1 {
		t.Fatalf("%d refusals, %v", len(told), err)
	}
	if in := time.Until(told[0].Until); told[0].Word != "user_daily_quota_exceeded" || in < 23*time.Hour || in > 25*time.Hour || *told[0].Limit != 50*megabyte {
		t.Errorf("told %+v", told[0])
	}
	runs, err := p.store.Runs(t.Context(), store.Filter{Account: "ann"})
	if err != nil || len(runs) != 2 || *runs[0].In != up.Moved.Received || runs[0].Reason != "user_daily_quota_exceeded" {
		t.Errorf("%+v, %v", runs, err)
	}
}

// TestPublicServerOfEveryKind: TCP and UDP, each way and both, one connection and
// twenty: what moves stays within the quota and a batch of each stream, and it is
// what is booked.
func TestPublicServerOfEveryKind(t *testing.T) {
	t.Parallel()
	p := openPublic(t, aStore(t), quota.Rules{})
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Down, result.Up, result.Both} {
			for _, n := range []int{1, 20} {
				name := fmt.Sprintf("udp=%v,%v,%d", udp, d, n)
				p.add(name, dailyBytes(account.Both, 5*megabyte))
				c := btest.Client{UDP: udp, Direction: d, Connections: n, Duration: 20 * time.Second}
				if udp { // without a rate a sender begins gently
					c.UpRate, c.DownRate = 200e6, 200e6
				}
				if err := p.test(name, c); result.ExitCode(err) != 7 {
					t.Errorf("%s: %v", name, err)
				}
				e := p.end()
				moved := e.Moved.Sent + e.Moved.Received
				if e.Reason != "user_daily_quota_exceeded" || moved > 5*megabyte+uint64(n)*aBatch || moved < 4*megabyte {
					t.Errorf("%s: %d bytes moved, then %s", name, moved, e.Reason)
				}
				if u := p.use(name); u.In != e.Moved.Received || u.Out != e.Moved.Sent {
					t.Errorf("%s: booked %+v, moved %+v", name, u, e.Moved)
				}
			}
		}
	}
}

// TestFiftyAtOnce: fifty tests at the same moment with 10 MB left share them.
func TestFiftyAtOnce(t *testing.T) {
	t.Parallel()
	p := openPublic(t, aStore(t), quota.Rules{})
	p.add("ann", dailyBytes(account.Both, 10*megabyte))
	fifty(t, []*public{p}, 50)
	u := p.use("ann")
	moved := movedBy(p)
	if moved > 10*megabyte+50*aBatch || moved < 9*megabyte {
		t.Errorf("%d bytes moved of %d", moved, 10*megabyte)
	}
	if u.In+u.Out != moved {
		t.Errorf("booked %+v, moved %d", u, moved)
	}
}

// movedBy is what all tests moved of servers that are stopped for it.
func movedBy(servers ...*public) (n uint64) {
	for _, p := range servers {
		p.stop()
		for len(p.ends) > 0 {
			e := p.end()
			n += e.Moved.Sent + e.Moved.Received
		}
	}
	return n
}

// fifty has n clients of ann test at once, against servers in turn, until they are cut
// or refused.
func fifty(t *testing.T, servers []*public, n int) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			c := btest.Client{Direction: []result.Direction{result.Up, result.Down, result.Both}[i%3], UDP: i%5 == 4, Duration: 60 * time.Second}
			if c.UDP {
				c.UpRate, c.DownRate = 20e6, 20e6
			}
			if err := servers[i%len(servers)].test("ann", c); err == nil {
				t.Errorf("test %d ran its full time", i)
			}
		})
	}
	wg.Wait()
}

// TestFault8DamagedSecretsLetNobodyIn: a user without a password, without a record or
// with a damaged one is refused, whatever password and login.
func TestFault8DamagedSecretsLetNobodyIn(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sonde.db")
	p := openPublic(t, file, quota.Rules{})
	p.add("ann", account.Limits{})
	if err := p.test("ann", btest.Client{Direction: result.Down, DownRate: 8e6, Duration: 200 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	p.end() // it comes after that of the client
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, damage := range []string{"record = NULL, password = NULL", "record = x'', password = x''", "record = x'00010203', password = x'ff'"} {
		if _, err := db.Exec("UPDATE account SET " + damage); err != nil {
			t.Fatal(err)
		}
		for _, password := range []string{"ann", "", "wrong"} {
			c := btest.Client{Target: p.addr, Account: "ann", Password: password, Direction: result.Down, Duration: time.Second}
			if err := c.Run(t.Context(), result.Discard); result.CodeOf(err) == "" {
				t.Errorf("%s: password %q lets in", damage, password)
			}
		}
	}
	if n := len(p.ends); n != 0 {
		t.Errorf("%d more tests", n)
	}
}

// aPostgres is a PostgreSQL for one test.
func aPostgres(t *testing.T) *testpg.Server {
	t.Helper()
	if _, err := testpg.Find(); err != nil {
		t.Skip(err)
	}
	s, err := testpg.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}
