// Package directory asks an LDAP server who may test, how much, and who may sign
// in to the dashboard.
//
// The logins of btest never send the password, so a directory cannot check it:
// what proves a user stays in the store, and the directory says whether they may
// test and what their limits are. Only a login of the dashboard, which has the
// password, binds with it; it is never kept.
package directory

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/sonde-net/sonde/app/account"
)

// Config says where the directory is and what is read in it.
type Config struct {
	URL    string      // ldaps://HOST[:PORT], or ldap:// with StartTLS
	Plain  bool        // no TLS: names and passwords cross the network in clear
	TLS    *tls.Config // nil: the system's authorities; its ServerName may be empty
	BaseDN string      // searched with all that is below

	BindDN       string // of the account that searches; empty searches as nobody
	BindPassword string

	// Filter finds the entry of a user, with {name} where the name stands. Empty
	// is a person whose uid, sAMAccountName or cn it is.
	Filter string
	// Groups, by DN: who may test (empty: everybody found), who may sign in to the
	// dashboard as admin and as viewer (empty: nobody).
	Users, Admins, Viewers string
	// Quotas are the attributes that hold them, such as "50G". One that an entry
	// does not have is the server's default.
	Quotas map[account.Window]string

	Timeout time.Duration // of each step; 0 means 5 s
	Keep    time.Duration // how long an answer about a user is good for; 0 means 1 min
}

const usualFilter = "(&(objectClass=person)(|(uid={name})(sAMAccountName={name})(cn={name})))"

// namePlace is where the name stands in a filter.
const namePlace = "{name}"

// disabledBit of userAccountControl says in an Active Directory that the account
// is disabled (MS-ADTS 2.2.16).
const disabledBit = 2

// Validate checks the settings; the error names what is wrong.
func (c Config) Validate() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "ldap" && u.Scheme != "ldaps":
		return fmt.Errorf("directory: address %q; want ldaps://HOST or ldap://HOST", c.URL)
	case c.Plain && u.Scheme == "ldaps":
		return errors.New("directory: ldaps:// is never plain; leave one out")
	case c.BaseDN == "":
		return errors.New("directory: a base DN is missing, such as dc=example,dc=com")
	case c.BindDN != "" && c.BindPassword == "":
		return errors.New("directory: the bind DN has no password; without one it would bind as nobody")
	case c.Filter != "" && !strings.Contains(c.Filter, namePlace):
		return fmt.Errorf("directory: the filter has no %s, and would find others", namePlace)
	}
	if _, err := ldap.CompileFilter(c.filter("x")); err != nil {
		return fmt.Errorf("directory: filter: %w", err)
	}
	for _, dn := range []string{c.BaseDN, c.BindDN, c.Users, c.Admins, c.Viewers} {
		if _, err := ldap.ParseDN(dn); err != nil {
			return fmt.Errorf("directory: DN %q: %w", dn, err)
		}
	}
	return nil
}

// filter is the one that finds a name. RFC 4515 section 3 says what is escaped.
func (c Config) filter(name string) string {
	return strings.ReplaceAll(cmp.Or(c.Filter, usualFilter), namePlace, ldap.EscapeFilter(name))
}

// A Directory answers from an LDAP server. It is safe for concurrent use.
type Directory struct {
	config Config
	host   string // for the certificate
	busy   chan struct{}

	accounts kept[answer]
	roles    kept[account.Role]
}

// An answer is what was found of a name.
type answer struct {
	account account.Account
	found   bool
}

// connections bounds those that are open at once.
const connections = 8

// New makes a Directory; it asks nothing yet.
func New(c Config) (*Directory, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Timeout, c.Keep = cmp.Or(c.Timeout, 5*time.Second), cmp.Or(c.Keep, time.Minute)
	u, _ := url.Parse(c.URL)
	return &Directory{config: c, host: u.Hostname(), busy: make(chan struct{}, connections), accounts: kept[answer]{good: c.Keep}, roles: kept[account.Role]{good: c.Keep}}, nil
}

// with does something with a connection that searches, and closes it.
func (d *Directory) with(ctx context.Context, do func(*ldap.Conn) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 4*d.config.Timeout, errors.New("the directory does not answer"))
	defer cancel()
	select {
	case d.busy <- struct{}{}:
		defer func() { <-d.busy }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	conn, err := d.dial()
	if err != nil {
		return d.explain(ctx, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if d.config.BindDN != "" {
		if err := conn.Bind(d.config.BindDN, d.config.BindPassword); err != nil {
			return d.explain(ctx, fmt.Errorf("bind as %s: %w", d.config.BindDN, err))
		}
	}
	return d.explain(ctx, do(conn))
}

func (d *Directory) explain(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, ErrLogin) {
		return err
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("directory %s: %w", d.config.URL, err)
}

// dial connects, with TLS before anything else is said.
func (d *Directory) dial() (*ldap.Conn, error) {
	t := d.config.TLS.Clone()
	if t == nil {
		t = &tls.Config{}
	}
	t.ServerName = cmp.Or(t.ServerName, d.host)
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	conn, err := ldap.DialURL(d.config.URL, ldap.DialWithTLSConfig(t), ldap.DialWithDialer(&net.Dialer{Timeout: d.config.Timeout}))
	if err != nil {
		return nil, err
	}
	conn.SetTimeout(d.config.Timeout)
	if _, secure := conn.TLSConnectionState(); !secure && !d.config.Plain {
		if err := conn.StartTLS(t); err != nil {
			conn.Close()
			return nil, fmt.Errorf("StartTLS: %w", err)
		}
	}
	return conn, nil
}

// find returns the one entry of a name, nil if there is none. Two are an error:
// the first one found need not be the one that is meant.
func (d *Directory) find(conn *ldap.Conn, name string, attributes ...string) (*ldap.Entry, error) {
	found, err := conn.Search(ldap.NewSearchRequest(d.config.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2,
		int(d.config.Timeout/time.Second)+1, false, d.config.filter(name), attributes, nil))
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		return nil, fmt.Errorf("there is no %s", d.config.BaseDN)
	case ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) || err == nil && len(found.Entries) > 1:
		return nil, fmt.Errorf("more than one entry is called %q", name)
	case err != nil:
		return nil, fmt.Errorf("search: %w", err)
	case len(found.Entries) == 0:
		return nil, nil
	}
	return found.Entries[0], nil
}

// isMember reports whether an entry belongs to a group, by what the entry says or
// by what the group does.
func (d *Directory) isMember(conn *ldap.Conn, e *ldap.Entry, group string) (bool, error) {
	want, err := ldap.ParseDN(group)
	if err != nil {
		return false, err
	}
	for _, text := range e.GetEqualFoldAttributeValues("memberOf") {
		if dn, err := ldap.ParseDN(text); err == nil && dn.EqualFold(want) {
			return true, nil
		}
	}
	dn := ldap.EscapeFilter(e.DN)
	found, err := conn.Search(ldap.NewSearchRequest(group, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, int(d.config.Timeout/time.Second)+1, false,
		"(|(member="+dn+")(uniqueMember="+dn+"))", []string{"1.1"}, nil)) // 1.1: no attributes, RFC 4511 section 4.5.1.8
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("search group %s: %w", group, err)
	}
	return len(found.Entries) > 0, nil
}
