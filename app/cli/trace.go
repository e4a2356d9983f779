package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

// btestTrace is what -vv and -vvv show of the protocol, nil without them.
func (o *output) btestTrace(role result.Role) btest.Trace {
	if o.verbose < 2 {
		return nil
	}
	return &btest.Describer{
		Role: role, Hex: o.verbose > 2,
		Say: func(line string) { fmt.Fprintln(o.env.err, line) },
	}
}

func btestDecodeCommand(e *env) *cobra.Command {
	o := btest.DecodeOptions{Port: wire.DefaultPort}
	cmd := &cobra.Command{
		Use:   "decode FILE",
		Short: "print a recording or a capture message by message, in words",
		Long: `Print what two ends of a bandwidth test said to each other, message by message
in words: from a recording (sonde btest record), a pcap or pcapng capture, or
hexadecimal text. FILE may be - for standard input. Hashes with which passwords
can be guessed are hidden unless asked for.`,
		Args: oneArg("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "-" {
				return decodeError(args[0], btest.Decode(e.in, e.out, o))
			}
			f, err := os.Open(args[0])
			if err != nil {
				return &result.Error{Word: result.CodeUsage, Text: "decode", Err: err, Hint: "give a recording or a capture"}
			}
			defer f.Close()
			return decodeError(args[0], btest.Decode(f, e.out, o))
		},
	}
	cmd.Flags().BoolVar(&o.Secrets, "secrets", false, "show hashes and confirmations of logins")
	cmd.Flags().BoolVar(&o.Hex, "hex", false, "add the bytes of each message")
	cmd.Flags().Uint16VarP(&o.Port, "port", "P", wire.DefaultPort, "the server's TCP port in a capture")
	return cmd
}

func decodeError(file string, err error) error {
	if err == nil {
		return nil
	}
	return &result.Error{Word: result.CodeProtocol, Text: file, Err: err, Hint: "decode reads recordings, pcap and pcapng captures, and hexadecimal text"}
}
