//go:build !nano

package cli

import (
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/page"
	"github.com/sonde-net/sonde/app/report"
)

func reportCommand(e *env) *cobra.Command {
	var out, title string
	var most count = 100
	cmd := &cobra.Command{
		Use:   "report FILE... -o PAGE",
		Short: "make one page of HTML of saved results",
		Long: `Make one page of HTML of the results in files that --json or --json-stream wrote:
a table of all tests, charts of all over time and of each, and each in words. The
page needs nothing but itself and can be sent by mail. A FILE may be - for
standard input, PAGE - for standard output.`,
		Example: `  sonde btest client 192.168.88.1 --every 10m --count 6 --json -o morning.json
  sonde report morning.json -o morning.html`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misuse("", "%s: no file; give what --json or --json-stream wrote", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return misuse("such as -o report.html; - is standard output", "no --output")
			}
			p := &page.Page{Title: title, Made: time.Now(), Zone: time.Local, Most: int(most)}
			if title == "" {
				p.Title = "sonde: " + filepath.Base(args[0])
			}
			for _, name := range args {
				before := p.Len()
				if err := readSaved(e, name, func(r *report.Run) error { p.Add(r); return nil }); err != nil {
					return err
				}
				if p.Len() == before {
					return misuse("", "%s: no test in it; give a file that --json or --json-stream wrote", name)
				}
			}
			return writePage(e, p, out)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to this `PAGE`, such as report.html; - for standard output")
	cmd.Flags().StringVar(&title, "title", "", "`TEXT` above the page (default the name of the first file)")
	cmd.Flags().Var(&most, "most", "tests that are shown one by one, the latest")
	return cmd
}

func writePage(e *env, p *page.Page, name string) error {
	if name == "-" {
		_, err := p.WriteTo(e.out)
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return cannotWrite("output", name, err)
	}
	if _, err = p.WriteTo(io.Writer(f)); err == nil {
		err = f.Close()
	} else {
		f.Close()
	}
	if err != nil {
		return cannotWrite("output", name, err)
	}
	return nil
}
