package btest

import (
	"crypto/rand"
	"fmt"
	"strings"
	"unicode"

	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// The methods of login, as results name them.
const (
	LoginNone  = "none"
	LoginMD5   = "md5"
	LoginSRP5  = "ecsrp5"
	LoginJoins = "joined" // a further connection of a test whose first one logged in
)

// login answers the server's reply to the command, whatever it asks for, and
// returns its result and the method.
func (c *Client) login(ctrl *control, r wire.Reply) (wire.Reply, string, error) {
	switch r.Verdict {
	case wire.Go:
		return r, LoginNone, nil
	case wire.Refused:
		return r, "", refused()
	}
	method := LoginMD5
	if r.Verdict == wire.WantSRP5 {
		method = LoginSRP5
	}
	if c.Account == "" && c.Password == "" {
		return r, method, &result.Error{Word: result.CodeAuth, Text: fmt.Sprintf("the server asks for a login (%s)", methodName(method)),
			Hint: "give --user and --password-file, or SONDE_PASSWORD"}
	}
	if r.Verdict == wire.WantMD5 {
		return c.loginMD5(ctrl)
	}
	return c.loginSRP5(ctrl)
}

func refused() error {
	return &result.Error{Word: result.CodeRefused, Text: "the server refused the test",
		Hint: "it may be busy, limited to other addresses, or not allow this kind of test"}
}

func methodName(method string) string {
	switch method {
	case LoginMD5:
		return "MD5"
	case LoginSRP5:
		return "EC-SRP5"
	}
	return method
}

func (c *Client) loginMD5(ctrl *control) (wire.Reply, string, error) {
	challenge, err := ctrl.read("MD5 challenge", 16)
	if err != nil {
		return wire.Reply{}, LoginMD5, err
	}
	if len(c.Account) > wire.NameLen {
		return wire.Reply{}, LoginMD5, c.denied(LoginMD5, fmt.Sprintf("an MD5 login carries names of at most %d bytes", wire.NameLen))
	}
	response := wire.Response{Hash: auth.MD5(c.Password, [16]byte(challenge)), Name: c.Account}
	b, _ := response.AppendBinary(nil)
	if err := ctrl.write("login", b); err != nil {
		return wire.Reply{}, LoginMD5, err
	}
	return c.outcome(ctrl, LoginMD5)
}

func (c *Client) loginSRP5(ctrl *control) (wire.Reply, string, error) {
	fail := func(err error) (wire.Reply, string, error) { return wire.Reply{}, LoginSRP5, err }
	role, err := auth.NewClient(c.Account, c.Password, rand.Reader)
	if err != nil {
		return fail(err)
	}
	key, err := role.Key().AppendBinary(nil)
	if err != nil {
		return fail(c.denied(LoginSRP5, fmt.Sprintf("the name must have at most %d bytes and no zero byte", wire.MaxSRPName)))
	}
	if err := ctrl.write("login", wire.AppendFrame(nil, key)); err != nil {
		return fail(err)
	}
	b, err := ctrl.readFrame("server key")
	if err != nil {
		return fail(c.hungUp(LoginSRP5, err))
	}
	serverKey, err := wire.ParseServerKey(b)
	if err != nil {
		return fail(c.said(b, err))
	}
	confirm, err := role.Confirm(serverKey)
	if err != nil {
		return fail(protocolError(err, "the server's key is not one"))
	}
	if err := ctrl.write("confirmation", wire.AppendFrame(nil, confirm[:])); err != nil {
		return fail(err)
	}
	if b, err = ctrl.readFrame("server confirmation"); err != nil {
		return fail(c.hungUp(LoginSRP5, err))
	}
	if len(b) != wire.ConfirmLen {
		return fail(c.said(b, &wire.BytesError{Message: "server confirmation", Bytes: b}))
	}
	if err := role.Verify([wire.ConfirmLen]byte(b)); err != nil {
		return fail(&result.Error{Word: result.CodeAuth, Err: err, Text: "the server did not prove that it knows the password",
			Hint: "it may not be the machine you think it is; the test was not started"})
	}
	return c.outcome(ctrl, LoginSRP5)
}

// outcome reads the result of a login.
func (c *Client) outcome(ctrl *control, method string) (wire.Reply, string, error) {
	b, err := ctrl.read("result of the login", wire.ReplyLen)
	if err != nil {
		return wire.Reply{}, method, c.hungUp(method, err)
	}
	r, err := wire.ParseReply(b)
	if err != nil {
		return wire.Reply{}, method, protocolError(err, "")
	}
	switch {
	case r.Verdict == wire.Go:
		return r, method, nil
	case method == LoginSRP5: // the server has confirmed the login already
		return r, method, refused()
	}
	return wire.Reply{}, method, c.denied(method, "")
}

// hungUp turns a close in the middle of a login into what it means.
func (c *Client) hungUp(method string, err error) error {
	if sock.IsGone(err) {
		return c.denied(method, "")
	}
	return err
}

// said shows what a server says in words where a message was due.
func (c *Client) said(b []byte, err error) error {
	text := strings.TrimSpace(string(b))
	printable := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0
	switch {
	case text == "":
		return c.denied(LoginSRP5, "")
	case printable:
		return c.denied(LoginSRP5, fmt.Sprintf("the server says %q", text))
	}
	return protocolError(err, "")
}

// denied is the error of a login that failed.
func (c *Client) denied(method, why string) error {
	text := fmt.Sprintf("the server rejected user %q (%s)", c.Account, methodName(method))
	if why != "" {
		text += ": " + why
	}
	return &result.Error{Word: result.CodeAuth, Text: text, Hint: "check the name and the password; RouterOS wants a user with the \"test\" policy"}
}
