package btest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

// denyTime is how long every failed login waits for its answer, whatever was
// wrong with it.
const denyTime = time.Second

// errDenied is any failed login; from outside all look the same.
var errDenied = errors.New("login failed")

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
	if s.Auth == AuthMD5 || s.Auth == AuthAuto && s.fallback.wantsMD5(peer.Addr(), time.Now()) {
		v.method = LoginMD5
		v.account, err = s.challengeMD5(ctrl)
	} else {
		v.account, err = s.challengeSRP5(ctrl, peer)
	}
	s.noteLogin(peer, v, err)
	switch {
	case err == nil:
		s.backoff.Succeeded(peer.Addr())
	case errors.Is(err, errDenied):
		s.backoff.Failed(peer.Addr(), time.Now())
		s.fallback.forget(peer.Addr())
		s.deny(ctx, ctrl, v.method)
	}
	return v, err
}

// deny lets some time pass and tells the client, where the protocol has a way:
// an EC-SRP5 login ends with the close.
func (s *Server) deny(ctx context.Context, ctrl *control, method string) {
	select {
	case <-time.After(denyTime):
	case <-ctx.Done():
		return
	}
	if method == LoginMD5 {
		_ = ctrl.reply(wire.Reply{Verdict: wire.Refused}) // the close that follows says the same
	}
}

// challengeMD5 runs the login of RouterOS before 6.43.
func (s *Server) challengeMD5(ctrl *control) (name string, err error) {
	var challenge [16]byte
	rand.Read(challenge[:])
	b, _ := wire.Reply{Verdict: wire.WantMD5}.AppendBinary(nil)
	if err := ctrl.write("MD5 challenge", append(b, challenge[:]...)); err != nil {
		return "", err
	}
	if b, err = ctrl.read("login", wire.ResponseLen); err != nil {
		return "", err
	}
	r, err := wire.ParseResponse(b)
	if err != nil {
		return "", err
	}
	a, known := s.Accounts.Account(r.Name)
	password := ""
	known = known && !a.Disabled && a.Password != nil
	if a.Password != nil {
		password = *a.Password
	}
	if !auth.CheckMD5(password, known, challenge, r.Hash) {
		return r.Name, errDenied
	}
	return r.Name, nil
}

// challengeSRP5 runs the login of RouterOS from 6.43 on. Unknown and disabled
// users go through all of it and fail at its end.
func (s *Server) challengeSRP5(ctrl *control, peer netip.AddrPort) (name string, err error) {
	if err := ctrl.reply(wire.Reply{Verdict: wire.WantSRP5}); err != nil {
		return "", err
	}
	b, err := ctrl.readFrame("client key")
	if err != nil {
		if s.Auth == AuthAuto && gone(err) {
			s.fallback.hungUp(peer.Addr(), time.Now())
			s.Log.Info("hung up on EC-SRP5: MD5 is offered next time", "peer", peer)
		}
		return "", err
	}
	m, err := wire.ParseClientKey(b)
	if err != nil {
		return "", err
	}
	decoy := auth.Decoy(s.decoys, m.Name) // for every name: equal work
	a, known := s.Accounts.Account(m.Name)
	if !known || a.Record == (auth.Record{}) {
		a.Record, known = decoy, false
	}
	role, err := auth.NewServer(a.Record, known && !a.Disabled, rand.Reader)
	if err != nil {
		return m.Name, err
	}
	key, err := role.Key(m)
	if err != nil {
		return m.Name, err
	}
	b, _ = key.AppendBinary(nil)
	if err := ctrl.write("server key", wire.AppendFrame(nil, b)); err != nil {
		return m.Name, err
	}
	b, err = ctrl.readFrame("client confirmation")
	if err != nil {
		return m.Name, err
	}
	if len(b) != wire.ConfirmLen {
		return m.Name, errDenied
	}
	confirm, ok := role.Check([wire.ConfirmLen]byte(b))
	if !ok {
		return m.Name, errDenied
	}
	return m.Name, ctrl.write("server confirmation", wire.AppendFrame(nil, confirm[:]))
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
	case errors.Is(err, errDenied):
		return "wrong name or password"
	case errors.As(err, &refused):
		return refused.Error()
	case gone(err):
		return "client hung up"
	case silent(err):
		return "client went silent"
	}
	return err.Error()
}
