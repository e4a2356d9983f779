package cli

import (
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

func btestServerCommand(e *env) *cobra.Command {
	s := &btest.Server{}
	o := newOutput(e)
	var f btestServerFlags
	var g guardFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "let RouterOS and other btest clients test against this machine",
		Long: `Serve the MikroTik bandwidth test. On the router:

  /tool/bandwidth-test address=THIS-MACHINE user=NAME password=SECRET

With users every client has to log in: EC-SRP5 (RouterOS 6.43 and later) is
offered first, MD5 to those that do not know it. Open TCP port 2000 and the UDP
ports 2001-2100; a test through a NAT needs nothing else.`,
		Example: `  sonde btest server
  sonde btest server --user test --password-file secret
  sonde btest server --users users.txt --max-duration 5m --max-tests-per-address 2
  sonde btest server --store sonde.db`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.stored = g.given(e)
			run, err := f.service(cmd.Context(), e, o, s)
			if err != nil {
				return err
			}
			return o.runGuarded(cmd.Context(), e, &g, run)
		},
	}
	f.register(cmd.Flags())
	g.register(cmd.Flags())
	o.register(cmd.Flags())
	o.syslog.register(cmd.Flags())
	return cmd
}

// btestServerFlags are the flags of a server that do not map to one field.
type btestServerFlags struct {
	listen   listenFlag
	bind     bindFlag
	login    loginFlags
	users    string
	stored   bool // users come from a store
	empty    bool
	auth     string
	ports    portRange
	duration duration
	rate     rate
	interval duration
	numbers  map[string]*count // the limits that are numbers, by flag
}

// Numbers of a server's limits: the flag, its default, and what it limits.
var btestServerNumbers = []struct {
	flag  string
	usual count
	what  string
}{
	{"max-tests", 100, "tests at once; 0 no limit"},
	{"max-tests-per-address", 10, "tests at once from one address; 0 no limit"},
	{"max-connections", 4096, "connections at once; 0 no limit"},
	{"max-connections-per-address", 512, "connections at once from one address; 0 no limit"},
	{"max-logins", 1024, "logins in progress at once; 0 no limit"},
	{"max-logins-per-address", 8, "logins in progress at once from one address; 0 no limit"},
}

func (f *btestServerFlags) register(fs *pflag.FlagSet) {
	f.listen.port = wire.DefaultPort
	f.interval = duration(time.Second)
	f.listen.register(fs)
	f.bind.register(fs)
	f.login.register(fs)
	fs.StringVar(&f.users, "users", "", "`FILE` of users, a line NAME:PASSWORD each; the name * is any other")
	fs.BoolVar(&f.empty, "allow-empty-password", false, "serve users whose password is empty")
	fs.StringVar(&f.auth, "auth", "", "`METHOD` of login: none, md5, ecsrp5 or auto (auto with users, none without)")
	fs.Var(&f.ports, "udp-ports", "UDP ports to announce, FIRST-LAST")
	f.numbers = map[string]*count{}
	for _, n := range btestServerNumbers {
		value := n.usual
		f.numbers[n.flag] = &value
		fs.Var(&value, n.flag, n.what)
	}
	fs.Var(&f.duration, "max-duration", "longest test; 0 no limit")
	fs.Var(&f.rate, "max-rate", "highest rate each way of one test, bit/s")
	fs.Var(&f.interval, "interval", "time between results")
}

// service is s as the flags mean it.
func (f *btestServerFlags) service(ctx context.Context, e *env, o *output, s *btest.Server) (service, error) {
	run, err := f.apply(ctx, e, s)
	if err != nil {
		return run, err
	}
	s.Log, s.Trace = o.logger(), o.btestTrace(result.Server)
	run.protocol, run.validate = btest.Protocol, s.Validate
	run.ready = func() {
		for _, line := range routerOSLines(run.listen, ownAddresses(), s.Accounts != nil) {
			s.Log.Info("on a router: " + line)
		}
		remarkAuth(s)
	}
	run.asks, run.udpPorts = s.Accounts != nil, f.ports.String()
	run.serve = func(sink result.Sink) serveFunc { s.Sink = sink; return s.Serve }
	return run, nil
}

// apply sets the fields of s that the flags mean, and says where it listens.
func (f *btestServerFlags) apply(ctx context.Context, e *env, s *btest.Server) (service, error) {
	for _, flag := range slices.Sorted(maps.Keys(f.numbers)) {
		if n := *f.numbers[flag]; n < 0 {
			return service{}, misuse("", "--%s %d: want 1 or more, or 0 for no limit", flag, n)
		}
	}
	if err := checkInterval(f.interval); err != nil {
		return service{}, err
	}
	s.Connections, s.ConnectionsPerAddress = f.limit("max-connections"), f.limit("max-connections-per-address")
	s.Logins, s.LoginsPerAddress = f.limit("max-logins"), f.limit("max-logins-per-address")
	s.UDPPorts = btest.PortRange(f.ports)
	s.Interval = time.Duration(f.interval)
	from, err := f.bind.source()
	if err != nil {
		return service{}, err
	}
	_, s.ListenPacket = from.dialer()
	run := service{config: net.ListenConfig{Control: from.control}, admit: func(p admit.Policy) { s.Policy = p }}
	run.limits = quota.Server{
		Tests: int(*f.numbers["max-tests"]), TestsPerAddress: int(*f.numbers["max-tests-per-address"]),
		Duration: time.Duration(f.duration), Rate: uint64(f.rate),
	}
	if run.listen, err = f.listen.addresses(from.host()); err != nil {
		return service{}, err
	}
	if err := f.checkAuth(e); err != nil {
		return service{}, err
	}
	s.Auth = f.method()
	if f.stored {
		run.limits.Members = true
		run.login = func(ctx context.Context, g *guard) error { return g.logins(ctx, s) }
	}
	if f.stored {
		s.Accounts = btest.NewList(nil) // nobody, until the store is there
		return run, nil
	}
	s.Accounts, err = f.accounts(ctx, e)
	return run, err
}

// limit is a number as package btest takes it, where 0 is the default.
func (f *btestServerFlags) limit(flag string) int {
	if n := int(*f.numbers[flag]); n > 0 {
		return n
	}
	return -1
}

// method is the login that the flag means: both methods together are auto.
func (f *btestServerFlags) method() btest.Auth {
	auth := strings.ToLower(strings.ReplaceAll(f.auth, " ", ""))
	if auth == "md5,ecsrp5" || auth == "ecsrp5,md5" {
		return btest.AuthAuto
	}
	return btest.Auth(auth)
}

// checkAuth checks the method against the users.
func (f *btestServerFlags) checkAuth(e *env) error {
	users := f.users != "" || f.login.name != "" || f.login.passwordGiven(e)
	if f.stored && f.method() == btest.AuthNone {
		f.stored = false // everybody may test, within the quota of an address
	}
	if users && f.stored {
		return misuse("", "--store has the users; leave --users, --user and the password out, or take them over: sonde users import FILE")
	}
	users = users || f.stored
	switch f.method() {
	case "":
		return nil
	case btest.AuthNone:
		if users {
			return misuse("", "--auth none: there are users, who would not be asked; leave one of them out")
		}
		return nil
	case btest.AuthMD5, btest.AuthSRP5, btest.AuthAuto:
		if !users {
			return misuse("", "--auth %s: a login needs users; give --users FILE, or --user NAME and --password-file FILE", f.auth)
		}
		return nil
	}
	return misuse("", "%s: no such login; give none, md5, ecsrp5 or auto", flagValue("auth", f.auth))
}

// accounts are those of the flags and the file, nil when there are none.
func (f *btestServerFlags) accounts(ctx context.Context, e *env) (btest.Accounts, error) {
	list := btest.List{}
	if f.users != "" {
		var err error
		if list, err = readUsers(f.users, f.empty); err != nil {
			return nil, err
		}
	}
	given := f.login.passwordGiven(e)
	if f.login.name != "" && !given {
		return nil, misuse("", "%s: a password is missing, and without one everybody could test; give --password-file FILE", flagValue("user", f.login.name))
	}
	name, password, err := f.login.read(ctx, e)
	if err != nil || !given {
		return newAccounts(list), err
	}
	if name == "" {
		name = btest.AnyName
	}
	_, twice := list[name]
	switch {
	case twice:
		return nil, misuse("", "%s: %s has that user too; leave one of them out", flagValue("user", name), f.users)
	case password == "" && !f.empty:
		return nil, misuse("", "%s: the password is empty; give one, or allow that with --allow-empty-password", flagValue("user", name))
	}
	list[name] = btest.Secret{Password: password}
	return newAccounts(list), nil
}

// newAccounts is nil for an empty list: nobody has to log in.
func newAccounts(list btest.List) btest.Accounts {
	if len(list) == 0 {
		return nil
	}
	return btest.NewList(list)
}
