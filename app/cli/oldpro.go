//go:build !nano

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/directory"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/app/unit"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

// oldPro is btest-server-pro as its users know it: its flags, its lines. What it took
// and ignored (LDAP, a shared password, EC-SRP5, CSV) works.
type oldPro struct {
	oldBtest
	set                      *pflag.FlagSet
	db                       string
	users, quotas            map[account.Window]*unit.Size
	perAddress, longest      count // 0 is no limit
	check                    count // seconds
	web                      port0
	shared                   string
	url, base, dn, password  string
	passwordFile, sharedFile string
}

func oldProCommand(e *env) *cobra.Command {
	p := &oldPro{oldBtest: oldBtest{env: e}}
	cmd := &cobra.Command{
		Use:   e.program + " [flags]",
		Short: "public MikroTik bandwidth test server with users and quotas",
		Example: `  btest-server-pro useradd ann --password-file secret --daily 50G
  btest-server-pro --daily-quota 10G --ip-daily 5G`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.run(cmd.Context()) },
	}
	p.register(cmd)
	cmd.AddCommand(proUserCommands(e)...)
	return cmd
}

func (p *oldPro) register(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&p.db, proUsersDB, "btest-users.db", "`FILE` of users and of what they used, made if it is not there; or postgres://USER@HOST/DATABASE")
	fs := cmd.Flags()
	p.set = fs
	p.port = wire.DefaultPort
	fs.VarP(&p.port, "port", "P", "TCP port to listen on")
	fs.StringVar(&p.listen, "listen", "", "IPv4 `ADDR` to listen on; none: no IPv4 (default every address)")
	fs.StringVar(&p.listen6, "listen6", "", "IPv6 `ADDR` to listen on; none: no IPv6 (default every address)")
	p.users, p.quotas = map[account.Window]*unit.Size{}, map[account.Window]*unit.Size{}
	for period := range account.Periods {
		w := account.Window{Period: period}
		p.users[w] = new(unit.Size)
		fs.Var(p.users[w], period.String()+"-quota", fmt.Sprintf("bytes of each user, %s, sent and received, such as 50G; 0 no limit", period))
		for flow, suffix := range [...]string{account.Both: "", account.In: "-in", account.Out: "-out"} {
			w.Flow = account.Flow(flow)
			p.quotas[w] = new(unit.Size)
			what := [...]string{account.Both: "both ways together", account.In: "from the client", account.Out: "to the client"}[flow]
			fs.Var(p.quotas[w], "ip-"+period.String()+suffix, fmt.Sprintf("bytes of each address, %s, %s; 0 no limit", period, what))
		}
	}
	p.perAddress, p.longest, p.check = 5, 300, 10
	fs.Var(&p.perAddress, "max-conn-per-ip", "tests at once from one address, whatever their connections; 0 no limit")
	fs.Var(&p.longest, "max-duration", "longest test, seconds; 0 no limit")
	fs.Var(&p.check, "quota-check-interval", "seconds between checks of running tests for disabled users and changed limits")
	fs.Var(&p.web, "web-port", "port of the dashboard; 0 none")
	fs.StringVar(&p.url, "ldap-url", "", "`URL` of a directory in which users have to be as well, ldaps://HOST")
	fs.StringVar(&p.base, "ldap-base-dn", "", "`DN` below which they are")
	fs.StringVar(&p.dn, "ldap-bind-dn", "", "`DN` that searches; without one nobody's")
	fs.StringVar(&p.password, "ldap-bind-pass", "", "its `PASSWORD`; other users of this machine may see it, prefer a file")
	fs.StringVar(&p.passwordFile, "ldap-bind-pass-file", "", "`FILE` whose first line it is")
	fs.StringVar(&p.shared, "shared-password", "", "`PASSWORD` of all users; other users of this machine may see it, prefer a file")
	fs.StringVar(&p.sharedFile, "shared-password-file", "", "`FILE` whose first line it is")
	fs.BoolVar(&p.srp, "ecsrp5", false, "EC-SRP5 only: no MD5 for those who may")
	p.registerOutput(fs)
}

// port0 is a port, or 0 for none.
type port0 uint16

func (p *port0) String() string { return fmt.Sprint(uint16(*p)) }

// Type names the kind of value in help texts.
func (p *port0) Type() string { return "port" }

// Set implements pflag.Value.
func (p *port0) Set(text string) error {
	if text == "0" {
		*p = 0
		return nil
	}
	var one port
	err := one.Set(text)
	*p = port0(one)
	return err
}

func (p *oldPro) run(ctx context.Context) error {
	at, err := p.oldBtest.addresses()
	if err != nil {
		return err
	}
	if err := p.checkFlags(); err != nil {
		return err
	}
	if err := store.CheckDSN(p.db); err != nil {
		return misuse("", "%s: %w", flagValue(proUsersDB, withoutPassword(p.db)), err)
	}
	shared, err := p.secret("shared-password", p.shared, p.sharedFile)
	if err != nil {
		return err
	}
	over, err := p.directory()
	if err != nil {
		return err
	}
	s := &btest.Server{Log: p.output.logger(), Trace: p.output.btestTrace(result.Server)}
	if p.srp {
		s.Auth = btest.AuthSRP5
	}
	k, err := openKept(ctx, store.Config{DSN: p.db, Log: s.Log})
	if err != nil {
		return err
	}
	k.directory = over
	if err := loginFromStore(ctx, s, k.store); err != nil {
		_ = k.close()
		return err
	}
	if shared != "" {
		s.Accounts = sharedLogins{s.Accounts, shared, !p.srp, s.Decoys}
	}
	run := service{
		protocol: btest.Protocol, validate: s.Validate, listen: at, ready: func() {},
		serve:  func(sink result.Sink) serveFunc { s.Sink = p.oldSink(sink); return s.Serve },
		admit:  func(policy admit.Policy) { s.Policy = policy },
		limits: quota.Server{Tests: 100, TestsPerAddress: int(p.perAddress), Duration: time.Duration(p.longest) * time.Second, Members: true},
		guard:  newGuard(ctx, s.Log, p.rules(), k),
	}
	err = p.lines().runServer(ctx, run)
	if closed := run.guard.close(); err == nil {
		err = closed
	}
	return err
}

func (p *oldPro) checkFlags() error {
	for _, n := range []struct {
		flag  string
		value count
		least count
	}{{"max-conn-per-ip", p.perAddress, 0}, {"max-duration", p.longest, 0}, {"quota-check-interval", p.check, 1}} {
		if n.value < n.least {
			return misuse("", "--%s %d: want %d or more", n.flag, n.value, n.least)
		}
	}
	if p.web != 0 {
		return misuse("", "--web-port %d: the dashboard belongs to sonde serve, which asks for a login; give 0, or run sonde serve", p.web)
	}
	return nil
}

// rules are the quotas of the flags.
func (p *oldPro) rules() quota.Rules {
	of := func(flags map[account.Window]*unit.Size) account.Limits {
		l := account.Limits{Bytes: map[account.Window]uint64{}}
		for w, n := range flags {
			l.Bytes[w] = uint64(*n)
		}
		return l
	}
	return quota.Rules{Users: of(p.users), Addresses: of(p.quotas), Check: time.Duration(p.check) * time.Second}
}

// directory is the LDAP server of the flags; nil without one.
func (p *oldPro) directory() (*directory.Directory, error) {
	if p.url == "" {
		for name, value := range map[string]string{"ldap-base-dn": p.base, "ldap-bind-dn": p.dn, "ldap-bind-pass": p.password, "ldap-bind-pass-file": p.passwordFile} {
			if value != "" {
				return nil, misuse("", "--%s: without --ldap-url there is no directory; leave it out, or give that", name)
			}
		}
		return nil, nil
	}
	password, err := p.secret("ldap-bind-pass", p.password, p.passwordFile)
	if err != nil {
		return nil, err
	}
	d, err := directory.New(directory.Config{URL: p.url, BaseDN: p.base, BindDN: p.dn, BindPassword: password})
	if err != nil {
		return nil, misuse("", "%s: %w", flagValue("ldap-url", p.url), err)
	}
	return d, nil
}

// secret is that of a flag, or of the file of its -file; empty for none.
func (p *oldPro) secret(flag, text, file string) (string, error) {
	given := p.set.Changed(flag)
	secret := text
	var err error
	switch {
	case given && file != "":
		return "", misuse("", "%s: the password is given twice; leave one out", flagValue(flag+"-file", file))
	case given:
		fmt.Fprintf(p.env.err, "%s: warning: other users of this machine can read a password on the command line; prefer --%s-file\n", p.env.program, flag)
		secret = blankPassword(text)
	case file != "":
		flag += "-file"
		secret, err = readSecretOf(flag, file)
	default:
		return "", nil
	}
	if err == nil && secret == "" {
		err = misuse("", "--%s: the password is empty, and would let everybody in; give one, or leave it out", flag)
	}
	return secret, err
}

// sharedLogins are users of a store who all have one password.
type sharedLogins struct {
	known    btest.Accounts
	password string
	md5      bool
	decoys   [32]byte // of the server
}

// Account implements btest.Accounts. The salt of a name is the one that it has
// while nobody has it, on every server and after every restart: who is known does
// not show.
func (l sharedLogins) Account(ctx context.Context, name string) (btest.Account, bool, error) {
	a, known, err := l.known.Account(ctx, name)
	record := auth.NewRecord(name, l.password, auth.Decoy(l.decoys, name).Salt) // for unknown names as well: equal work
	if err != nil || !known {
		return btest.Account{}, false, err
	}
	shared := btest.Account{Record: record, Disabled: a.Disabled}
	if l.md5 {
		shared.Password = &l.password
	}
	return shared, true, nil
}
