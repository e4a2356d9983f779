package btest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

// closed are accounts of which one is disabled.
type closed struct{ Accounts }

func (c closed) Account(ctx context.Context, name string) (Account, bool, error) {
	a, ok, err := c.Accounts.Account(ctx, strings.TrimSuffix(name, "-closed"))
	a.Disabled = strings.HasSuffix(name, "-closed")
	return a, ok, err
}

// failure is what a client that may not log in sees, and when.
type failure struct {
	heard []int // lengths of what the server said after the challenge
	end   string
	took  time.Duration
}

// TestFailuresLookAlike: whatever is wrong with a login, the server says the
// same after the same time.
func TestFailuresLookAlike(t *testing.T) {
	t.Parallel()
	for _, method := range []Auth{AuthMD5, AuthSRP5} {
		t.Run(string(method), func(t *testing.T) {
			inBubble(t, &Server{Accounts: closed{users()}, Auth: method}, func(t *testing.T, b *bubble) {
				var want failure
				for i, tt := range []struct{ name, password string }{
					{"test", "wrong"}, {"ghost", "secret"}, {"ghost", ""}, {"test-closed", "secret"}, {"", ""}, {"ghost-closed", "x"},
				} {
					b.backoff.Succeeded(localAddr(testAddr).Addr())
					got := b.fail(t, method, tt.name, tt.password)
					if i == 0 {
						want = got
					}
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%q: %+v, want %+v as for a wrong password", tt.name, got, want)
					}
				}
				if want.took < denyTime || want.took > denyTime+10*time.Millisecond {
					t.Errorf("a failure takes %v, want %v", want.took, denyTime)
				}
				notes := b.events.logins()
				if len(notes) != 6 {
					t.Fatalf("%d notes of 6 logins", len(notes))
				}
				for _, n := range notes {
					want := "wrong name or password"
					if n.Login.Account == "test-closed" {
						want = "the user is disabled"
					}
					if n.Code != result.NoteAuthFailure || n.Login == nil || n.Login.Reason != want || n.Login.Method != string(method) {
						t.Errorf("note %+v, %+v", n, n.Login)
					}
				}
			})
		})
	}
}

// fail logs in with a name and a password that are not right.
func (b *bubble) fail(t *testing.T, method Auth, name, password string) failure {
	t.Helper()
	h := b.greet(t)
	defer h.Close()
	h.say("01 02 01 00 0080 0000 00000000 00000000")
	var f failure
	if method == AuthMD5 {
		h.loginMD5(name, password)
	} else {
		h.expect("03 00 00 00")
		f.heard = append(f.heard, h.loginSRP5(name, password))
	}
	start := time.Now()
	h.SetReadDeadline(time.Time{})
	rest, err := io.ReadAll(h)
	f.took = time.Since(start)
	f.heard = append(f.heard, len(rest))
	f.end = fmt.Sprintf("% x %v", rest, err)
	return f
}

// loginSRP5 logs in up to the confirmation, and returns how long the server's
// key was.
func (h *hand) loginSRP5(name, password string) int {
	h.t.Helper()
	role, err := auth.NewClient(name, password, zeroes{})
	if err != nil {
		h.t.Fatal(err)
	}
	key, _ := role.Key().AppendBinary(nil)
	h.Write(wire.AppendFrame(nil, key))
	n := h.hear(1)[0]
	serverKey, err := wire.ParseServerKey(h.hear(int(n)))
	if err != nil {
		h.t.Fatal(err)
	}
	confirm, err := role.Confirm(serverKey)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Write(wire.AppendFrame(nil, confirm[:]))
	return int(n)
}

// zeroes is a source of a secret that is no secret.
type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 7
	}
	return len(b), nil
}

// TestSaltStays: the salt of an unknown name is the same at each try, as that of
// a known one is, and differs from name to name.
func TestSaltStays(t *testing.T) {
	t.Parallel()
	inBubble(t, &Server{Accounts: users(), Auth: AuthSRP5}, func(t *testing.T, b *bubble) {
		salt := func(name string) string {
			b.backoff.Succeeded(localAddr(testAddr).Addr())
			h := b.greet(t)
			defer h.Close()
			h.say("01 02 01 00 0080 0000 00000000 00000000")
			h.expect("03 00 00 00")
			role, _ := auth.NewClient(name, "", zeroes{})
			key, _ := role.Key().AppendBinary(nil)
			h.Write(wire.AppendFrame(nil, key))
			k, err := wire.ParseServerKey(h.hear(50)[1:])
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%x", k.Salt)
		}
		for _, name := range []string{"test", "ghost", "nobody"} {
			if a, b := salt(name), salt(name); a != b {
				t.Errorf("%s: salt %s, then %s", name, a, b)
			}
		}
		if salt("ghost") == salt("nobody") {
			t.Error("unknown names have one salt")
		}
	})
}

// TestAuto: EC-SRP5 is offered first. An address that hangs up on the offer gets
// MD5 on its next try: an old RouterOS, or a client that was not given a
// password at first. An account may refuse MD5.
func TestAuto(t *testing.T) {
	t.Parallel()
	inBubble(t, &Server{Accounts: users()}, func(t *testing.T, b *bubble) {
		run := func(name, password string) (method string, err error) {
			var got events
			c := &Client{Target: b.addr, Account: name, Password: password, Duration: time.Second, DownRate: 1e5,
				Dial: b.client.DialContext, ListenPacket: b.client.ListenPacket}
			err = c.Run(t.Context(), &got)
			if begins := got.of()[0].begins; len(begins) > 0 {
				method = begins[0].Login
			}
			return method, err
		}
		expect := func(what, name, password, method string, code int) {
			t.Helper()
			got, err := run(name, password)
			if got != method || result.ExitCode(err) != code {
				t.Errorf("%s: login %q, %v, want %q and exit code %d", what, got, err, method, code)
			}
		}
		expect("first", "test", "secret", LoginSRP5, 0)
		expect("a wrong password", "test", "wrong", "", 4)
		expect("after it", "test", "secret", LoginSRP5, 0)
		expect("no password given", "", "", "", 4)
		expect("then with one", "test", "secret", LoginMD5, 0)
		expect("again", "test", "secret", LoginMD5, 0)
		expect("an account that refuses MD5", "modern", "secret", "", 4)
		expect("after that failure", "modern", "secret", LoginSRP5, 0)

		// RouterOS before 6.43 knows nothing of verdict 3 and closes.
		h := b.greet(t)
		h.say("01 02 01 00 0080 0000 80841e00 00000000")
		h.expect("03 00 00 00")
		h.Close()
		time.Sleep(time.Second)
		h = b.greet(t)
		h.say("01 02 01 00 0080 0000 80841e00 00000000")
		h.loginMD5("test", "secret")
		h.expect("01 00 00 00")
		h.Close()
		time.Sleep(fallbackTime)
		expect("some time later", "test", "secret", LoginSRP5, 0)
	})
}

// TestAnyName: a server with a password alone takes every name.
func TestAnyName(t *testing.T) {
	t.Parallel()
	for _, method := range []Auth{AuthMD5, AuthSRP5} {
		inBubble(t, &Server{Accounts: NewList(List{AnyName: {Password: "secret"}}), Auth: method}, func(t *testing.T, b *bubble) {
			for _, tt := range []struct {
				name, password string
				code           int
			}{{"admin", "secret", 0}, {"", "secret", 0}, {"*", "secret", 0}, {"admin", "wrong", 4}} {
				c := &Client{Target: b.addr, Account: tt.name, Password: tt.password, Duration: time.Second, DownRate: 1e5,
					Dial: b.client.DialContext, ListenPacket: b.client.ListenPacket}
				if err := c.Run(t.Context(), result.Discard); result.ExitCode(err) != tt.code {
					t.Errorf("%s: %q with %q: %v, want exit code %d", method, tt.name, tt.password, err, tt.code)
				}
			}
		})
	}
}

// TestLongNames: a name of any length ends in a login or in an error of ours.
func TestLongNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		n    int
		auth Auth
		code int
	}{
		{32, AuthMD5, 0}, {33, AuthMD5, 4}, {32, AuthSRP5, 0}, {221, AuthSRP5, 0}, {222, AuthSRP5, 4},
	} {
		name := strings.Repeat("n", tt.n)
		inBubble(t, &Server{Accounts: NewList(List{name: {Password: "secret"}}), Auth: tt.auth}, func(t *testing.T, b *bubble) {
			c := &Client{Target: b.addr, Account: name, Password: "secret", Duration: time.Second, DownRate: 1e5,
				Dial: b.client.DialContext, ListenPacket: b.client.ListenPacket}
			if err := c.Run(t.Context(), result.Discard); result.ExitCode(err) != tt.code {
				t.Errorf("%d bytes by %s: %v, want exit code %d", tt.n, tt.auth, err, tt.code)
			}
		})
	}
}

// slow are accounts whose lookup takes as long as the name says, or fails.
type slow struct{ Accounts }

func (s slow) Account(ctx context.Context, name string) (Account, bool, error) {
	name, long, _ := strings.Cut(name, "+")
	if long == "broken" {
		return Account{}, false, errors.New("the disk is full")
	}
	d, _ := time.ParseDuration(long)
	time.Sleep(d)
	return s.Accounts.Account(ctx, name)
}

// TestAnswersAtFixedTimes: how long a lookup takes does not show, nor does one
// that fails. The clock of the bubble is exact.
func TestAnswersAtFixedTimes(t *testing.T) {
	t.Parallel()
	for _, method := range []Auth{AuthMD5, AuthSRP5} {
		inBubble(t, &Server{Accounts: slow{users()}, Auth: method}, func(t *testing.T, b *bubble) {
			took := map[time.Duration]bool{}
			for _, name := range []string{"test+0s", "test+3ms", "ghost+0s", "ghost+15ms", "test+broken"} {
				b.backoff.Succeeded(localAddr(testAddr).Addr())
				start := time.Now()
				b.fail(t, method, name, "wrong")
				took[time.Since(start).Round(100*time.Microsecond)] = true
			}
			if len(took) != 1 {
				t.Errorf("%s: failures take %v", method, took)
			}
			b.backoff.Succeeded(localAddr(testAddr).Addr())
			for range 10 { // a store that fails is not the client's fault
				b.fail(t, method, "test+broken", "secret")
			}
			if err := b.backoff.Check(localAddr(testAddr).Addr(), time.Now()); err != nil {
				t.Errorf("%s: %v", method, err)
			}
			notes := b.events.logins()
			if last := notes[len(notes)-1]; last.Login.Reason != "the disk is full" {
				t.Errorf("the operator reads %+v", last)
			}
		})
	}
}

// TestAccountBackoff: one account's password cannot be guessed from many
// addresses at their speed, its user is not locked out of where they are, and
// from outside a login that has to wait is one with a wrong password.
func TestAccountBackoff(t *testing.T) {
	t.Parallel()
	inBubble(t, &Server{Accounts: users(), Auth: AuthSRP5}, func(t *testing.T, b *bubble) {
		here := localAddr(testAddr).Addr()
		try := func(password string) error {
			b.backoff.Succeeded(here) // as if from another address each time
			c := &Client{Target: b.addr, Account: "test", Password: password, Duration: time.Second, DownRate: 1e5,
				Dial: b.client.DialContext, ListenPacket: b.client.ListenPacket}
			return c.Run(t.Context(), result.Discard)
		}
		for range 27 {
			exitCode(t, try("wrong"), 4)
		}
		wrong := try("wrong")
		if err := try("secret"); err == nil || err.Error() != wrong.Error() {
			t.Errorf("the right password is %v, a wrong one %v", err, wrong)
		}
		time.Sleep(time.Minute)
		if err := try("secret"); err != nil {
			t.Errorf("a minute later: %v", err)
		}
		for range 30 {
			exitCode(t, try("wrong"), 4)
		}
		if err := try("secret"); err != nil {
			t.Errorf("from where the user has been: %v", err)
		}
	})
}

// TestGivenUpLoginsCount: to make the server work for an EC-SRP5 login and not go
// on costs an address as much as a wrong password.
func TestGivenUpLoginsCount(t *testing.T) {
	t.Parallel()
	inBubble(t, &Server{Accounts: users(), Auth: AuthSRP5}, func(t *testing.T, b *bubble) {
		role, err := auth.NewClient("test", "", zeroes{})
		if err != nil {
			t.Fatal(err)
		}
		key, _ := role.Key().AppendBinary(nil)
		for range 6 {
			h := b.greet(t)
			h.say("01 02 01 00 0080 0000 00000000 00000000")
			h.expect("03 00 00 00")
			h.Write(wire.AppendFrame(nil, key))
			h.hear(50)
			h.Close()
			time.Sleep(10 * time.Millisecond)
		}
		if err := b.backoff.Check(localAddr(testAddr).Addr(), time.Now()); err == nil {
			t.Error("six logins were given up, and the address need not wait")
		}
	})
}

// TestEqualWork: a login by an unknown name, a disabled user and a wrong password
// allocate the same, which is a proxy for doing the same.
func TestEqualWork(t *testing.T) {
	s := &Server{Accounts: closed{users()}, Auth: AuthSRP5}
	s.prepare()
	peer := localAddr(testAddr)
	work := map[string]float64{}
	for _, name := range []string{"test", "ghost", "test-closed"} {
		role, err := auth.NewClient(name, "wrong", zeroes{})
		if err != nil {
			t.Fatal(err)
		}
		key := role.Key()
		name := key.Name
		work[name] = testing.AllocsPerRun(20, func() {
			server, _, _, err := s.answerKey(t.Context(), key, peer)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := server.Check([wire.ConfirmLen]byte{}); ok {
				t.Fatal("let in")
			}
		})
	}
	// The two kinds of denial are a small value each.
	if d := work["ghost"] - work["test"]; d < -2 || d > 2 {
		t.Errorf("allocations: %v", work)
	}
	if d := work["test-closed"] - work["test"]; d < -2 || d > 2 {
		t.Errorf("allocations: %v", work)
	}
}
