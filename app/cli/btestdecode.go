package cli

import (
	"bufio"
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

func btestDecodeCommand(e *env) *cobra.Command {
	var o btest.DecodeOptions
	at := port(wire.DefaultPort)
	cmd := &cobra.Command{
		Use:   "decode FILE",
		Short: "print a recording or a capture message by message, in words",
		Long: `Print what two ends of a bandwidth test said to each other, message by message
in words: from a recording (sonde btest record), a pcap or pcapng capture, or
hexadecimal text. FILE may be - for standard input. Hashes with which passwords
can be guessed are hidden unless asked for.`,
		Example: `  sonde btest decode recording.json
  tcpdump -i eth0 -w - port 2000 | sonde btest decode -`,
		Args: oneArg("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Port = uint16(at)
			return decode(cmd.Context(), e, args[0], o)
		},
	}
	cmd.Flags().BoolVar(&o.Secrets, "secrets", false, "show hashes and confirmations of logins")
	cmd.Flags().BoolVar(&o.Hex, "hex", false, "add the bytes of each message")
	cmd.Flags().VarP(&at, "port", "P", "the server's TCP port in a capture")
	return cmd
}

// decode prints the file of that name, - for standard input, until ctx ends.
func decode(ctx context.Context, e *env, name string, o btest.DecodeOptions) error {
	var in io.Reader = e.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fileError("decode "+name, "give a recording or a capture", err)
		}
		defer f.Close()
		in = f
	}
	decoded := make(chan error, 1)
	go func() { decoded <- decodeTo(e.out, in, name, o) }()
	select {
	case err := <-decoded:
		return err
	case <-ctx.Done(): // a read of standard input may wait for ever
		return context.Cause(ctx)
	}
}

func decodeTo(w io.Writer, in io.Reader, name string, o btest.DecodeOptions) error {
	out := bufio.NewWriter(w)
	err := btest.Decode(in, out, o)
	if flushed := out.Flush(); flushed != nil {
		return &result.Error{Word: result.CodeLocal, Text: "decode " + name, Err: cause(flushed)}
	}
	if err != nil {
		return &result.Error{Word: result.CodeProtocol, Text: "decode " + name, Err: err,
			Hint: "decode reads recordings, pcap and pcapng captures, and hexadecimal text"}
	}
	return nil
}
