package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/twamp"
)

func twampDoctorCommand(e *env) *cobra.Command {
	d := &twamp.Doctor{}
	o := newOutput(e)
	var (
		mark   dscp
		keys   keyFlags
		bind   bindFlag
		family familyFlags
		asJSON bool
	)
	wait := duration(10 * time.Second)
	cmd := &cobra.Command{
		Use:   "doctor HOST[:PORT]",
		Short: "list how a TWAMP or STAMP far end departs from the RFCs",
		Long: `Examine a far end: its control connection, what its reflector answers to TWAMP,
TWAMP Light and STAMP packets, and which extensions it knows. It takes some
seconds, because silence is an answer, too.`,
		Example: `  sonde twamp doctor 192.0.2.1
  sonde twamp doctor 192.0.2.1 --key-id ann --key-file keys --json`,
		Args: oneArg("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkTarget(args[0]); err != nil {
				return err
			}
			from, err := bind.source()
			if err != nil {
				return err
			}
			if d.Network, err = family.network(from); err != nil {
				return err
			}
			if wait == 0 {
				return misuse("", "--reply-timeout 0: want more than 0")
			}
			if err := o.validate(); err != nil {
				return err
			}
			dial, listen := from.dialer()
			d.Dial, d.ListenPacket = twamp.DialFunc(dial), twamp.ListenPacketFunc(listen)
			d.Addr, d.DSCP, d.ReplyTime, d.KeyID = args[0], uint8(mark), time.Duration(wait), keys.id
			if d.Secret, err = keys.secret(e.getenv); err != nil {
				return err
			}
			d.Log = o.logger()
			found, err := d.Run(cmd.Context())
			if ctx := cmd.Context(); ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return findingsJSON(e.out, args[0], found)
			}
			return findings(e.out, args[0], found)
		},
	}
	fs := cmd.Flags()
	keys.register(fs)
	fs.Var(&mark, "dscp", "mark packets with this DSCP and see how they come back")
	fs.Var(&wait, "reply-timeout", "for each answer of the server")
	fs.BoolVar(&asJSON, "json", false, "the findings as one JSON document")
	bind.register(fs)
	family.register(fs)
	o.registerLog(fs)
	return cmd
}

// findings prints what was found, what departs from the RFCs first.
func findings(w io.Writer, target string, found []twamp.Finding) error {
	departures := 0
	for _, f := range found {
		if f.Departs {
			departures++
		}
	}
	said := fmt.Sprintf("%d departures from the RFCs", departures)
	switch departures {
	case 0:
		said = "no departure from the RFCs"
	case 1:
		said = "1 departure from the RFCs"
	}
	if _, err := fmt.Fprintf(w, "twamp doctor: %s: %s, %d remarks\n", plain(target), said, len(found)-departures); err != nil {
		return err
	}
	for _, group := range []struct {
		departs bool
		word    string
	}{{true, "departs"}, {false, "remark"}} {
		for _, f := range found {
			if f.Departs != group.departs {
				continue
			}
			if _, err := fmt.Fprintf(w, "  %-8s %-22s %s\n", group.word, f.Code, plain(f.Text)); err != nil {
				return err
			}
		}
	}
	return nil
}

// findingsJSON prints the same for programs.
func findingsJSON(w io.Writer, target string, found []twamp.Finding) error {
	type finding struct {
		Code    string `json:"code"`
		Departs bool   `json:"departs"`
		Text    string `json:"text"`
	}
	document := struct {
		Schema   string    `json:"schema"`
		Target   string    `json:"target"`
		Findings []finding `json:"findings"`
	}{"sonde.doctor/1", target, []finding{}}
	for _, f := range found {
		document.Findings = append(document.Findings, finding(f))
	}
	return json.NewEncoder(w).Encode(document)
}
