package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

func btestRecordCommand(e *env) *cobra.Command {
	r := &btest.Recorder{}
	o := newOutput(e)
	at := listenFlag{port: wire.DefaultPort}
	cmd := &cobra.Command{
		Use:   "record --to HOST[:PORT] [-o FILE]",
		Short: "sit between two devices and write down what they say",
		Long: `Listen for a btest client, pass everything on to a server, and write down what
both say: messages in full, bulk data as amounts. Point the client at this
machine; stop with Ctrl-C. The recording is JSON, for sonde btest decode and for
the questions about real RouterOS that only recordings answer. It holds names of
users and, of an MD5 login, a hash from which a weak password can be guessed:
use a password that is used nowhere else.`,
		Example: `  sonde btest record --listen :2000 --to 192.168.88.1 -o routeros.json
  sonde btest decode routeros.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			addresses, err := at.addresses("")
			switch {
			case err != nil:
				return err
			case len(addresses) > 1:
				return misuse("", "--listen %s: a recorder listens on one address; give one", at.at[1])
			case r.To == "":
				return misuse("", "--to is missing; give the server, such as --to 192.168.88.1")
			}
			r.Listen = addresses[0]
			return o.record(cmd.Context(), r)
		},
	}
	registerRecord(cmd.Flags(), r, &at)
	cmd.Flags().StringVarP(&o.file, "output", "o", "", "`FILE` for the recording instead of standard output")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "do not show the messages that pass")
	o.registerLog(cmd.Flags())
	return cmd
}

func registerRecord(fs *pflag.FlagSet, r *btest.Recorder, at *listenFlag) {
	at.register(fs)
	fs.StringVar(&r.To, "to", "", "the server, `HOST` or HOST:PORT")
	fs.BoolVar(&r.Once, "once", false, "end when the first test is over")
	fs.StringVar(&r.Name, "name", "", "`NAME` of the recording")
	fs.StringVar(&r.Description, "description", "", "what is recorded, in a `SENTENCE`")
	fs.StringVar(&r.Server, "server-program", "", "the `PROGRAM` that serves, such as \"RouterOS 7.20\"")
	fs.StringVar(&r.Client, "client-program", "", "the `PROGRAM` that tests")
}

// record runs r with the recording where the flags say. The messages that pass
// are shown on standard error.
func (o *output) record(ctx context.Context, r *btest.Recorder) error {
	if err := o.validate(); err != nil {
		return err
	}
	if err := checkHost("to", r.To); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return misuse("", "--to: %w", err)
	}
	var w io.Writer = o.env.out
	if o.file != "" {
		f, err := os.OpenFile(o.file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) // it may hold hashes
		if err != nil {
			return cannotWrite("output", o.file, err)
		}
		o.flushes = append(o.flushes, f.Close)
		w = f
	}
	listeners, err := open(ctx, net.ListenConfig{}, []string{r.Listen})
	if err != nil {
		return err
	}
	r.Log = o.logger()
	if !o.quiet {
		r.Say = func(line string) { fmt.Fprintln(o.env.err, plain(line)) }
	}
	r.Log.Info("recording", "address", listeners[0].Addr().String(), "to", r.To)
	if err := errors.Join(r.Serve(ctx, listeners[0], w), o.close()); err != nil {
		return &result.Error{Word: result.CodeOf(err), Text: "record", Err: err}
	}
	return stopped(ctx)
}
