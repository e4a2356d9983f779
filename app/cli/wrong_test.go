package cli

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// wrongValues are values that flags refuse, and what is said behind them. They
// hold for each command that has the flag, but for those of another protocol,
// whose flags have meanings of their own.
var wrongValues = map[string][]struct{ value, said string }{
	"rate":         {{"10Q", "give bit/s such as"}, {"-5M", "give bit/s"}, {"1e400", "give bit/s"}, {"10 M x", "give bit/s"}, {"", "give bit/s"}, {"100MBit", "give bit/s"}, {"0.1", "give bit/s"}},
	"bandwidth":    {{"10Q", "give bit/s such as"}, {"-5M", "give bit/s"}, {"1e400", "give bit/s"}, {"10 M x", "give bit/s"}},
	"local-rate":   {{"10Q", "give bit/s"}},
	"remote-rate":  {{"fast", "give bit/s"}},
	"max-rate":     {{"-1", "give bit/s"}},
	"tx-size":      {{"10Q", "give bytes"}, {"100Mbit", "give bytes"}, {"-1", "give bytes"}, {"5", "512 to 65535 bytes"}, {"70000", "512 to 65535 bytes"}},
	"rx-size":      {{"x", "give bytes"}, {"511", "512 to 65535 bytes"}},
	"duration":     {{"-1s", "give seconds"}, {"ten", "give seconds"}, {"1e400", "give seconds"}, {"99999d", "at most 3650d"}, {"0.0000000001", "give seconds"}},
	"interval":     {{"0", "100ms to 1h"}, {"1ms", "100ms to 1h"}, {"2h", "100ms to 1h"}, {"x", "give seconds"}},
	"max-duration": {{"-1s", "give seconds"}},
	"connections":  {{"0", "1 to 255"}, {"256", "1 to 255"}, {"-1", "1 to 255"}, {"x", "not a whole number"}, {"1.5", "not a whole number"}, {"99999999999", "at most"}},
	"port":         {{"0", "1 to 65535"}, {"65536", "1 to 65535"}, {"-1", "1 to 65535"}, {"http", "1 to 65535"}},
	"bind": {{"1.2.3", "such as 192.0.2.1"}, {"host", "such as 192.0.2.1"}, {"192.0.2.1:80", "such as"}, {"%no-such0", "give one of"},
		{"127.0.0.1%", "such as %eth0"}},
	"listen":                      {{"nowhere", "such as"}, {"127.0.0.1:http", "such as"}, {"127.0.0.1:70000", "such as"}, {"1.2.3.4.5", "such as"}},
	"listen6":                     {{"127.0.0.1", "such as ::"}, {"nowhere", "such as ::"}},
	"udp-ports":                   {{"5-3", "such as 2001-2100"}, {"x", "such as"}, {"0", "such as"}, {"1-70000", "such as"}, {"65280", "such as"}, {"2001-", "such as"}},
	"max-tests":                   {{"-1", "0 for no limit"}, {"many", "not a whole number"}},
	"max-tests-per-address":       {{"-1", "0 for no limit"}},
	"max-connections":             {{"-2", "0 for no limit"}},
	"max-connections-per-address": {{"-2", "0 for no limit"}},
	"max-logins":                  {{"-2", "0 for no limit"}},
	"max-logins-per-address":      {{"-2", "0 for no limit"}},
	"auth":                        {{"magic", "give none, md5, ecsrp5 or auto"}, {"md5", "give --users FILE"}},
	"users":                       {{"no-such-file", "no such file"}, {"public", "chmod 600"}, {"nobody", "write a line NAME:PASSWORD"}, {".", "give the file"}},
	"password-file":               {{"no-such-file", "no such file"}, {"public", "chmod 600"}, {".", "give the file"}},
	"password-env":                {{"SONDE_NO_SUCH", "set it, or give --password-file"}},
	"user":                        {{"ann", "give --password-file"}},
	"authuser":                    {{"ann", "give -p PASSWORD"}},
	"format":                      {{"xml", "give text, json, jsonl"}, {"", "give text, json, jsonl"}},
	"color":                       {{"pink", "give auto, always, never"}, {"", "give auto"}},
	"log-level":                   {{"loud", "give debug, info, warn, error"}},
	"log-format":                  {{"xml", "give text, json"}},
	"csv":                         {{"other.csv", "give another file"}, {"-", "give a file"}},
	"syslog":                      {{"a:b:c", "give HOST:PORT"}, {"http://192.0.2.1", "give udp, tcp or tls"}, {"192.0.2.1:70000", "1 to 65535"}, {"udp://192.0.2.1/x", "give HOST:PORT"}},
	"syslog-format":               {{"rfc1", "give rfc3164, rfc5424"}},
	"to":                          {{":", "such as 192.0.2.1"}, {"router:0", "1 to 65535"}, {"256.1.1.1", "such as 192.0.2.1"}},
	"verbose":                     {{"=x", "not a whole number"}},
	"fail-if":                     {{"loss", ""}},
	"client":                      {{"a b", "such as 192.0.2.1"}, {"router:0", "1 to 65535"}, {"1.2.3", "such as 192.0.2.1"}},
	"every":                       {{"0", "want more than 0"}, {"10ms", "1s or more"}, {"often", "give seconds"}},
	"jitter":                      {{"1s", "without --every"}, {"x", "give seconds"}},
	"count":                       {{"3", "without --every"}, {"x", "not a whole number"}},
	"fail-runs":                   {{"3/5", "without --every"}},
	"store":                       {{"redis://127.0.0.1/0", "want sqlite:///FILE or postgres://"}},
	"store-key":                   {{"some.key", "leave it out, or give --store"}},
	"user-quota":                  {{"daily", "want NAME=SIZE"}, {"hourly=1G", "a name of daily, daily_in"}, {"daily=much", "give bytes"}, {"daily=1G", "give --store FILE"}},
	"address-quota":               {{"weekly_up=1G", "a name of daily, daily_in"}, {"daily=1G", "give --store FILE"}},
	"calendar":                    {{"Mars/Olympus", "such as Europe/Riga"}},
	"week-begins":                 {{"someday", "give sunday, monday"}},
	"queue-time":                  {{"-1s", "give seconds"}},
	"quota-check-interval":        {{"0", "1s or more"}, {"x", "give seconds"}},
	"web":                         {{"nowhere:port", "not an address to listen on"}},
	"on-store-loss":               {{"panic", "give stop or continue"}},
}

// anything are flags whose every value makes sense.
var anything = []string{"output", "plot", "syslog-tag", "password", "authpass", "name", "description", "server-program", "client-program"}

// only are the commands to which a row is bound, by flag and value.
var only = map[string]string{
	"user ann": "server", "auth md5": "server", "csv -": "client --json", "authuser ann": "btest -s", "client a b": "-c", "client router:0": "-c", "client 1.2.3": "-c",
}

// ground is what a command needs besides the flag under test so that only that
// is wrong. TARGET is a listener that must see nobody.
var ground = []struct {
	path  []string // of the command
	words []string // to put behind it
}{
	{[]string{"sonde", "btest", "client"}, []string{"-t", "-r", "TARGET"}},
	{[]string{"sonde", "btest", "server"}, []string{"--listen", "127.0.0.1:0"}},
	{[]string{"sonde", "btest", "decode"}, []string{"no-such-file"}},
	{[]string{"sonde", "btest", "record"}, []string{"--to", "TARGET", "--listen", "127.0.0.1:0"}},
	{[]string{"sonde", "demo"}, nil},
	{[]string{"btest"}, []string{"-c", "TARGET", "-r"}},
	{[]string{"btest"}, []string{"-s", "-P", "1"}},
	{[]string{"btest-client"}, []string{"-c", "TARGET", "-r"}},
	{[]string{"btest-server"}, []string{"-P", "1"}},
}

// TestWrongValues gives each flag of each command wrong values: one line that
// names the flag, the value and the way out, status 2, and nothing is sent.
func TestWrongValues(t *testing.T) {
	inFolder(t)
	for _, g := range ground {
		commandOf(t, g.path).Flags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" || f.Name == "version" {
				return
			}
			rows := wrongValues[f.Name]
			switch {
			case f.Value.Type() == "bool":
				rows = []struct{ value, said string }{{"=maybe", "give true or false"}}
			case slices.Contains(anything, f.Name):
			case len(rows) == 0:
				t.Errorf("%s --%s: no wrong value is tested", strings.Join(g.path, " "), f.Name)
			}
			if f.Value.Type() != "bool" && f.NoOptDefVal == "" {
				wantUsage(t, g.path, g.words, []string{"--" + f.Name}, "--"+f.Name, "its value is missing")
			}
			for _, row := range rows {
				line := strings.Join(append(slices.Clone(g.path), g.words...), " ")
				if bound := only[f.Name+" "+row.value]; bound != "" && !strings.Contains(line+" --json", bound) {
					continue
				}
				wantRefused(t, g.path, g.words, f, row.value, row.said)
			}
		})
	}
}

// wantRefused runs the command with one wrong value, in both spellings.
func wantRefused(t *testing.T, path, words []string, f *pflag.Flag, value, said string) {
	t.Helper()
	shown := value
	if joined, ok := strings.CutPrefix(value, "="); ok { // a switch takes a value only this way
		wantUsage(t, path, words, []string{"--" + f.Name + value}, joined, said)
		return
	}
	if f.Name == "csv" && value == "-" {
		words = append([]string{"--json"}, words...)
	}
	if f.Name == "to" || f.Name == "client" || f.Name == "listen" {
		words = without(words, f)
	}
	wantUsage(t, path, words, []string{"--" + f.Name + "=" + value}, shown, said)
	if f.NoOptDefVal == "" && value != "" && value[0] != '-' || f.Name == "listen6" {
		wantUsage(t, path, words, []string{"--" + f.Name, value}, shown, said)
	}
}

// without leaves the flag out of the words, with its value.
func without(words []string, f *pflag.Flag) []string {
	for n, w := range words {
		if w == "--"+f.Name || w == "-"+f.Shorthand {
			return slices.Delete(slices.Clone(words), n, n+2)
		}
	}
	return words
}

// TestWrongUsage has what is wrong beyond the value of one flag.
func TestWrongUsage(t *testing.T) {
	inFolder(t)
	for _, tt := range []struct {
		line string
		said []string
	}{
		// Flags and commands that are none.
		{"sonde btest client TARGET --conections 3", []string{"--conections", "did you mean --connections?"}},
		{"sonde btest client TARGET --xyzzy", []string{"--xyzzy", "see sonde btest client --help"}},
		{"sonde btest client TARGET -Q", []string{"-Q", "see sonde btest client --help"}},
		{"sonde btest client TARGET -tQr", []string{"-Q in -Qr", "--help"}},
		{"sonde btest server --transmit", []string{"--transmit", "--help"}},
		{"btest -c TARGET -r --bandwith 5M", []string{"--bandwith", "did you mean --bandwidth?"}},
		{"btest -c TARGET -r -x", []string{"-x", "see btest --help"}},
		{"sonde btset client TARGET", []string{`"btset"`, `did you mean "btest"?`}},
		{"sonde btest clien TARGET", []string{`"clien"`, `did you mean "client"?`}},
		{"sonde btest client --=x TARGET", []string{"--=x", "--help"}},

		// Arguments.
		{"sonde btest client", []string{"HOST is missing", "give"}},
		{"sonde btest client TARGET other", []string{`"other"`, "give one HOST"}},
		{"sonde btest server other", []string{`"other"`, "--help"}},
		{"sonde btest client 256.1.1.1", []string{"256.1.1.1", "such as 192.0.2.1"}},
		{"sonde btest client 1.2.3:2000", []string{"1.2.3:2000", "such as 192.0.2.1"}},
		{"sonde btest client :2000", []string{":2000", "such as 192.0.2.1"}},
		{"sonde btest client a\x1bb", []string{`a\x1bb`, "such as 192.0.2.1"}},
		{"sonde btest client router:0", []string{"router:0", "1 to 65535"}},
		{"sonde btest client router:http", []string{"router:http", "1 to 65535"}},
		{"sonde btest client [::1]:x", []string{"[::1]:x", "1 to 65535"}},
		{"sonde btest client a:b:c", []string{"a:b:c", "want HOST or HOST:PORT"}},
		{"sonde btest decode", []string{"FILE is missing", "give"}},
		{"sonde btest record", []string{"--to is missing", "such as"}},
		{"sonde demo -d 0", []string{"--duration 0", "give"}},

		// Two flags that exclude each other.
		{"sonde btest client TARGET -4 -6", []string{"-4 and -6", "choose one"}},
		{"sonde btest client TARGET --json --json-stream", []string{"--json and --json-stream", "choose one"}},
		{"sonde btest client TARGET --json --format jsonl", []string{"--format jsonl", "choose one"}},
		{"sonde btest client TARGET -p x --password-file secret", []string{"--password", "choose one"}},
		{"sonde btest client TARGET --password-env X --password-file secret", []string{"--password-env", "choose one"}},
		{"sonde btest client TARGET --port 2001", []string{"--port 2001", "give one of them"}},
		{"sonde btest client TARGET -o x --csv x", []string{"--csv x", "give another file"}},
		{"sonde btest client TARGET --bind 127.0.0.1 -6", []string{"--bind 127.0.0.1", "leave one of them out"}},
		{"sonde btest client TARGET -r --local-rate 5M", []string{"--local-rate 5000000", "add --transmit"}},
		{"sonde btest client TARGET -t --rx-size 1000", []string{"--rx-size 1000", "add --receive"}},
		{"sonde btest client TARGET -u --rx-size 65000", []string{"--rx-size 65000", "28 to 64000 bytes"}},
		{"btest -s -c TARGET", []string{"-s and -c", "choose one"}},
		{"btest", []string{"-s and -c HOST", "-s serves"}},
		{"btest -c TARGET", []string{"-t or -r", "give -r"}},
		{"btest -c TARGET -r -P 2001", []string{"--port 2001", "give one of them"}},
		{"btest -s --listen none --listen6 none", []string{"--listen none", "leave one of them out"}},

		// A user needs a password, and nobody is let in by accident.
		{"btest -s -a admin", []string{"-a admin", "give -p PASSWORD"}},
		{"btest -s -a admin --authpass=", []string{"-a admin", "is empty", "give one"}},
		{"btest -s --ecsrp5", []string{"--ecsrp5", "give -a NAME and -p PASSWORD"}},
		{"sonde btest server --listen 127.0.0.1:0 --user ann", []string{"--user ann", "give --password-file"}},
		{"sonde btest server --listen 127.0.0.1:0 --user ann --password-file empty", []string{"--user ann", "--allow-empty-password"}},
		{"sonde btest server --listen 127.0.0.1:0 --users users --user ann --password-file secret", []string{"--user ann", "leave one of them out"}},
		{"sonde btest server --listen 127.0.0.1:0 --users users --auth none", []string{"--auth none", "leave one of them out"}},
	} {
		words := strings.Fields(tt.line)
		said := tt.said
		wantUsageLine(t, words, func(line string) string {
			for _, s := range said {
				if !strings.Contains(line, s) {
					return s
				}
			}
			return ""
		})
	}
}

// The rate that the protocol cannot carry is refused under the old name, with a
// hint where to go.
func TestTooFastForBtest(t *testing.T) {
	target, touched := untouched(t)
	status, out, errs := invoke(t, "btest", "-c", target, "-r", "-b", "5G")
	const want = "btest: --bandwidth 5000000000: btest carries at most 4.294967295 Gbit/s\n" +
		"  hint: use 0 for unlimited, or sonde btest client, which holds higher rates on its own side\n"
	if status != 2 || out != "" || errs != want {
		t.Errorf("status %d, %q, %q; want 2 and %q", status, out, errs, want)
	}
	touched()
}

// All faults of a file of users are told in one run, each with its line.
func TestFaultyUsers(t *testing.T) {
	inFolder(t)
	status, out, errs := invoke(t, "sonde", "btest", "server", "--listen", "127.0.0.1:0", "--users", "faulty")
	want := strings.Join([]string{
		"sonde: faulty:2: want NAME:PASSWORD",
		"sonde: faulty:3: want NAME:PASSWORD",
		`sonde: faulty:5: user "bob" has no password; give one, or allow that with --allow-empty-password`,
		`sonde: faulty:6: user "ann" is there already, on line 1; leave one out`,
		"sonde: faulty:7: the name has 222 bytes; want at most 221",
		`sonde: faulty:8: the name "\xff" is not UTF-8 text; want NAME:PASSWORD`,
	}, "\n") + "\n"
	if status != 2 || out != "" || errs != want {
		t.Errorf("status %d, %q\ngot\n%swant\n%s", status, out, errs, want)
	}
}

// inFolder makes files with faults, and the folder the current one.
func inFolder(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("HOME", "/no-home")
	t.Setenv(passwordVariable, "")
	for name, text := range map[string]string{
		"secret": "s3cret\n", "empty": "", "nobody": "# nobody\n", "users": "ann:s3cret\n", "other.csv": "a,b,c\n",
		"faulty": "ann:s3cret\nnothing\n:s3cret\n# bob\nbob:\nann:again\n" + strings.Repeat("n", 222) + ":x\n\xff:x\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("public", []byte("ann:s3cret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// commandOf finds a command by its words, as Main makes it.
func commandOf(t *testing.T, path []string) *cobra.Command {
	t.Helper()
	root, _ := rootFor(&env{program: path[0], getenv: os.Getenv})
	cmd, rest, err := root.Find(path[1:])
	if err != nil || len(rest) > 0 {
		t.Fatalf("%v: no such command: %v", path, err)
	}
	return cmd
}

// invoke runs the program of that name, which must end by itself, and returns
// its status and output.
func invoke(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- Main(args, strings.NewReader(""), &o, &e) }()
	select {
	case status = <-done:
		return status, o.String(), e.String()
	case <-time.After(patience):
		t.Fatalf("%v: still runs after %v", args, patience)
	}
	return 0, "", ""
}

// untouched listens on an address that nobody must come to, which the returned
// function checks.
func untouched(t *testing.T) (target string, check func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var came atomic.Bool
	go func() {
		if c, err := l.Accept(); err == nil {
			came.Store(true)
			c.Close()
		}
	}()
	return l.Addr().String(), func() {
		if came.Load() {
			t.Error("something was sent")
		}
	}
}

func wantUsage(t *testing.T, path, words, flags []string, shown, said string) {
	t.Helper()
	args := slices.Concat(path, words, flags)
	wantUsageLine(t, args, func(line string) string {
		if shown != "" && !strings.Contains(line, shown) {
			return shown
		}
		if !strings.Contains(line, said) {
			return said
		}
		return ""
	})
}

// wantUsageLine runs args and wants wrong usage told in one line, in which lacks
// finds nothing missing.
func wantUsageLine(t *testing.T, args []string, lacks func(line string) string) {
	t.Helper()
	target, touched := untouched(t)
	args = slices.Clone(args)
	for n, a := range args {
		if a == "TARGET" {
			args[n] = target
		}
	}
	status, out, errs := invoke(t, args...)
	line, more, _ := strings.Cut(errs, "\n")
	line, more = afterWarning(line, more)
	switch {
	case status != 2:
		t.Errorf("%v: exit status %d, want 2; it said %q", args, status, errs)
	case out != "" && !slices.Contains(args, "--json") && !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--format") || a == "--json-stream" }):
		t.Errorf("%v: there is something on standard output: %q", args, out)
	case more != "" && !strings.HasPrefix(more, "  hint: ") || strings.Count(more, "\n") > 1:
		t.Errorf("%v: more than a line and a hint: %q", args, errs)
	case !strings.HasPrefix(line, filepath.Base(args[0])+": "):
		t.Errorf("%v: the line does not begin with the program: %q", args, line)
	case lacks(line+more) != "":
		t.Errorf("%v: %q lacks %q", args, errs, lacks(line+more))
	}
	touched()
}

// afterWarning leaves out the remark that a password is on the command line.
func afterWarning(line, more string) (string, string) {
	if strings.Contains(line, ": warning: ") {
		line, more, _ = strings.Cut(more, "\n")
	}
	return line, more
}
