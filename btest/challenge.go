package btest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// A server answers a login at fixed times after the message it answers, or when
// it is busy a multiple of them, so that the time tells nothing of what was
// looked up for it.
const (
	denyTime = time.Second           // the answer to every failed login, whatever was wrong with it
	keyTime  = 20 * time.Millisecond // the server's key in EC-SRP5
)

// errDenied is any failed login; from outside all look the same.
var errDenied = errors.New("wrong name or password")

// A denial is a failed login with its reason, for the operator alone.
type denial struct {
	reason error
	ours   bool // the client is not to blame, and need not wait for it
}

func (d *denial) Error() string   { return d.reason.Error() }
func (d *denial) Unwrap() []error { return []error{errDenied, d.reason} }

// A visitor is who logged in, and how.
type visitor struct {
	account string
	method  string
}

// challenge makes the client log in as the server is set up to. It returns
// before the final "go" is said.
func (s *Server) challenge(ctx context.Context, ctrl *control, peer netip.AddrPort) (visitor, error) {
	if s.Auth == AuthNone {
		return visitor{method: LoginNone}, nil
	}
	if err := s.backoff.Check(peer.Addr(), time.Now()); err != nil {
		return visitor{}, err
	}
	leave, err := s.logins.Enter(peer.Addr())
	if err != nil {
		return visitor{}, err
	}
	defer leave()
	v := visitor{method: LoginSRP5}
	var asked time.Time // when the client had said all that decides
	if s.Auth == AuthMD5 || s.Auth == AuthAuto && s.fallback.wantsMD5(peer.Addr(), time.Now()) {
		v.method = LoginMD5
		v.account, asked, err = s.challengeMD5(ctx, ctrl, peer)
	} else {
		v.account, asked, err = s.challengeSRP5(ctx, ctrl, peer)
	}
	s.noteLogin(peer, v, err)
	now := time.Now()
	switch {
	case err == nil:
		s.backoff.Succeeded(peer.Addr())
		s.guessed.Succeeded(v.account, peer.Addr(), now)
	case errors.Is(err, errDenied):
		if d, ok := errors.AsType[*denial](err); !ok || !d.ours {
			s.backoff.Failed(peer.Addr(), now)
			s.guessed.Failed(v.account, now)
		}
		s.fallback.forget(peer.Addr())
		s.deny(ctx, ctrl, v.method, asked)
	case !asked.IsZero():
		// It made the server work and did not go on: as dear as a wrong password.
		s.backoff.Failed(peer.Addr(), now)
	}
	return v, err
}

// deny tells the client some time after it asked, where the protocol has a way: an
// EC-SRP5 login ends with the close.
func (s *Server) deny(ctx context.Context, ctrl *control, method string, asked time.Time) {
	if !pause(ctx, asked, denyTime) {
		return
	}
	if method == LoginMD5 {
		_ = ctrl.reply(wire.Reply{Verdict: wire.Refused}) // the close that follows says the same
	}
}

// pause waits until the next multiple of step after since. It is false if ctx
// ended before.
func pause(ctx context.Context, since time.Time, step time.Duration) bool {
	return pace.NewWaiter().Until(ctx, time.Now().Add(step-time.Since(since)%step))
}

// account looks name up. An error is why nobody can log in by that name now:
// the account that comes with it serves to do the same work as for any other.
func (s *Server) account(ctx context.Context, name string, peer netip.AddrPort) (Account, error) {
	a, known, err := s.Accounts.Account(ctx, name)
	switch {
	case err != nil:
		s.Log.Error("look up a user", "peer", peer, "err", err)
		return Account{}, &denial{reason: err, ours: true}
	case !known:
		return Account{}, errDenied
	case a.Disabled:
		return a, &denial{reason: errors.New("the user is disabled")}
	}
	if err := s.guessed.Check(name, peer.Addr(), time.Now()); err != nil {
		return a, &denial{reason: err}
	}
	return a, nil
}

// challengeMD5 runs the login of RouterOS before 6.43.
func (s *Server) challengeMD5(ctx context.Context, ctrl *control, peer netip.AddrPort) (name string, asked time.Time, err error) {
	var challenge [16]byte
	rand.Read(challenge[:])
	b, _ := wire.Reply{Verdict: wire.WantMD5}.AppendBinary(nil)
	if err := ctrl.write("MD5 challenge", append(b, challenge[:]...)); err != nil {
		return "", asked, err
	}
	if b, err = ctrl.read("login", wire.ResponseLen); err != nil {
		return "", asked, err
	}
	asked = time.Now()
	r, err := wire.ParseResponse(b)
	if err != nil {
		return "", asked, err
	}
	a, denied := s.account(ctx, r.Name, peer)
	password := ""
	switch {
	case a.Password != nil:
		password = *a.Password
	case denied == nil:
		denied = &denial{reason: errors.New("the user may not log in by MD5")}
	}
	if !auth.CheckMD5(password, denied == nil, challenge, r.Hash) {
		return r.Name, asked, cmp.Or(denied, errDenied)
	}
	return r.Name, asked, nil
}

// challengeSRP5 runs the login of RouterOS from 6.43 on. Unknown and disabled
// users go through all of it and fail at its end.
func (s *Server) challengeSRP5(ctx context.Context, ctrl *control, peer netip.AddrPort) (name string, asked time.Time, err error) {
	if err := ctrl.reply(wire.Reply{Verdict: wire.WantSRP5}); err != nil {
		return "", asked, err
	}
	b, err := ctrl.readFrame("client key")
	if err != nil {
		if s.Auth == AuthAuto && sock.IsGone(err) {
			s.fallback.hungUp(peer.Addr(), time.Now())
			s.Log.Info("hung up on EC-SRP5: MD5 is offered next time", "peer", peer)
		}
		return "", asked, err
	}
	came := time.Now()
	m, err := wire.ParseClientKey(b)
	if err != nil {
		return "", asked, err
	}
	asked = came // from here on it has made us work
	role, key, denied, err := s.answerKey(ctx, m, peer)
	if err != nil {
		return m.Name, asked, err
	}
	if !pause(ctx, came, keyTime) {
		return m.Name, asked, context.Cause(ctx)
	}
	if err := ctrl.write("server key", key); err != nil {
		return m.Name, asked, err
	}
	if b, err = ctrl.readFrame("client confirmation"); err != nil {
		return m.Name, asked, err
	}
	asked = time.Now()
	if len(b) != wire.ConfirmLen {
		return m.Name, asked, cmp.Or(denied, errDenied)
	}
	confirm, ok := role.Check([wire.ConfirmLen]byte(b))
	if !ok {
		return m.Name, asked, cmp.Or(denied, errDenied)
	}
	return m.Name, asked, ctrl.write("server confirmation", wire.AppendFrame(nil, confirm[:]))
}

// answerKey is the server's part of an EC-SRP5 login up to its key, in a frame;
// denied is why it will fail in the end.
func (s *Server) answerKey(ctx context.Context, m wire.ClientKey, peer netip.AddrPort) (role *auth.Server, key []byte, denied, err error) {
	decoy := auth.Decoy(s.Decoys, m.Name) // for every name: equal work
	a, denied := s.account(ctx, m.Name, peer)
	if a.Record == (auth.Record{}) {
		a.Record, denied = decoy, cmp.Or(denied, error(&denial{reason: errors.New("the user may not log in by EC-SRP5")}))
	}
	if role, err = auth.NewServer(a.Record, denied == nil, rand.Reader); err != nil {
		return nil, nil, denied, err
	}
	answer, err := role.Key(m)
	if err != nil {
		return nil, nil, denied, err
	}
	b, _ := answer.AppendBinary(nil)
	return role, wire.AppendFrame(nil, b), denied, nil
}

// noteLogin tells the outcome of a login.
func (s *Server) noteLogin(peer netip.AddrPort, v visitor, err error) {
	login := &result.Login{Peer: peer, Account: v.account, Method: v.method}
	n := result.Note{Level: result.Info, Code: result.NoteAuthSuccess, Login: login}
	n.Head = result.Head{Time: time.Now(), Protocol: Protocol, Role: result.Server}
	n.Text = fmt.Sprintf("%v logged in as %q (%s)", peer, v.account, v.method)
	if err != nil {
		login.Reason = reason(err)
		n.Level, n.Code = result.Warning, result.NoteAuthFailure
		n.Text = fmt.Sprintf("login of %q from %v failed (%s): %s", v.account, peer, v.method, login.Reason)
	}
	s.Sink.Put(n)
}

// reason is why a login failed, for the operator.
func reason(err error) string {
	var refused *admit.RefusedError
	switch {
	case errors.As(err, &refused):
		return refused.Error()
	case sock.IsGone(err):
		return "client hung up"
	case sock.IsSilent(err):
		return "client went silent"
	}
	return err.Error()
}
