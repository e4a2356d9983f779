package cli

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/iperf3/auth"
)

func iperf3Command(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "iperf3",
		Short: "iperf3's throughput test, as client and server",
		Long: `iperf3's throughput test, against the servers and clients that stand everywhere.
Unlike iperf3, the server serves many clients at once.

A link or copy of sonde that is named iperf3 takes iperf3's flags and prints its
lines, its -J document and its --json-stream.`,
	}
	cmd.AddCommand(iperf3ClientCommand(e), iperf3ServerCommand(e))
	return cmd
}

// An iperf3Rate is the value of -b: bit/s, and behind a slash how many writes
// iperf3 makes at once.
type iperf3Rate struct{ rate }

// Set parses text.
func (r *iperf3Rate) Set(text string) error {
	text, _, _ = strings.Cut(text, "/") // we send evenly, never in bursts
	return r.rate.Set(text)
}

// iperf3Formats are iperf3's own reports as kinds of --format. The sink goes to
// keep, too.
func iperf3Formats(c report.Iperf3Config) map[string]otherFormat {
	of := func(kind report.Iperf3Kind, machine bool) otherFormat {
		return otherFormat{machine: machine, make: func(w otherWriter) errSink {
			c := c
			c.Kind = kind
			return report.Iperf3(w, c)
		}}
	}
	return map[string]otherFormat{
		"iperf3":        of(report.Iperf3JSON, true),
		"iperf3-stream": of(report.Iperf3Stream, true),
		"iperf3-text":   of(report.Iperf3Text, false),
	}
}

// iperf3Login are the flags of a client's login, by iperf3's names.
type iperf3Login struct {
	login   loginFlags
	name    string
	key     string
	padding string
	pkcs1   bool
}

func (f *iperf3Login) register(fs *pflag.FlagSet) {
	f.login.set = fs
	fs.StringVar(&f.name, "username", "", "user `NAME` to log in with")
	fs.StringVar(&f.key, "rsa-public-key-path", "", "`FILE` with the server's public RSA key, in PEM")
	fs.StringVar(&f.login.file, "password-file", "", "`FILE` whose first line is the password; - for standard input (or the variable SONDE_PASSWORD or IPERF3_PASSWORD)")
	fs.StringVar(&f.padding, "padding", "pkcs1", "of the login: `KIND` pkcs1 for servers up to iperf3 3.16, oaep from 3.17 on")
	fs.BoolVar(&f.pkcs1, "use-pkcs1-padding", false, "the same as --padding pkcs1")
	_ = fs.MarkHidden("use-pkcs1-padding")
}

// read completes the login; all is empty without one.
func (f *iperf3Login) read(ctx context.Context, e *env, set func(name, password string, key []byte, p auth.Padding) error) error {
	switch {
	case f.name == "" && f.key == "":
		return nil
	case f.name == "":
		return misuse("", "%s: it belongs together with --username; give both, or neither", flagValue("rsa-public-key-path", f.key))
	case f.key == "":
		return misuse("", "%s: it belongs together with --rsa-public-key-path; give both, or neither", flagValue("username", f.name))
	}
	padding := auth.PKCS1
	switch strings.ToLower(f.padding) {
	case "pkcs1":
	case "oaep":
		padding = auth.OAEP
	default:
		return misuse("", "%s: not one of the choices; give pkcs1 or oaep", flagValue("padding", f.padding))
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return fileError(flagValue("rsa-public-key-path", f.key), "the file is the server's public key in PEM", err)
	}
	f.login.name = f.name
	if f.login.file == "" && e.getenv(passwordVariable) == "" && e.getenv("IPERF3_PASSWORD") != "" {
		f.login.variable = "IPERF3_PASSWORD"
	}
	if !f.login.passwordGiven(e) {
		return misuse("", "--username %s: a password is missing; set IPERF3_PASSWORD, or give --password-file FILE", f.name)
	}
	name, password, err := f.login.read(ctx, e)
	if err != nil {
		return err
	}
	return set(name, password, key, padding)
}
