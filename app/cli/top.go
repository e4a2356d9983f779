//go:build !nano

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/live"
	"github.com/sonde-net/sonde/app/tui"
	"github.com/sonde-net/sonde/result"
)

// topWait is how long a daemon is waited for, and mostTop bounds its answer: some
// hundred bytes for each of the tests that it tells of.
const (
	topWait = 10 * time.Second
	mostTop = 16 << 20
)

func topCommand(e *env) *cobra.Command {
	t := top{env: e, color: "auto"}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "watch what a running sonde serve does just now",
		Long: `Watch a running sonde serve: which tests run and how fast, how its probes are,
what it has counted and refused since its start. It asks at the control socket of
the configuration, which only the server's own user reaches; or with --url at the
pages of a server, which tell of running tests alone, and without a token only of
those from our own address.

Without a terminal, and with --once, what runs now is printed as a table.`,
		Example: `  sonde top
  sonde top --once --control /run/sonde/sonde.sock
  sonde top --url https://speed.example.net --token-file token`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.run(cmd.Context()) },
	}
	t.register(cmd.Flags())
	return cmd
}

// A top is one run of sonde top.
type top struct {
	env        *env
	config     configFlags
	control    string
	url        string
	token      string // its file
	once, json bool
	color      string
}

func (t *top) register(fs *pflag.FlagSet) {
	t.config.register(fs)
	fs.StringVar(&t.control, "control", "", "the control `SOCKET` of the server, instead of that of the configuration")
	fs.StringVar(&t.url, "url", "", "the `URL` of the server's pages, instead of the control socket")
	fs.StringVar(&t.token, "token-file", "", "with --url: a `FILE` with a token of the dashboard")
	fs.BoolVar(&t.once, "once", false, "print a table of what runs now, and end")
	fs.BoolVar(&t.json, "json", false, "print what runs now as one JSON document, and end")
	fs.StringVar(&t.color, "color", t.color, "`WHEN` to use colours: auto, always or never")
}

func (t *top) run(ctx context.Context) error {
	look, title, err := t.source()
	if err != nil {
		return err
	}
	o := newOutput(t.env)
	o.color = t.color
	if err := o.validate(); err != nil {
		return err
	}
	first, err := look(ctx)
	switch {
	case err != nil:
		return err
	case t.json:
		enc := json.NewEncoder(t.env.out)
		enc.SetIndent("", "  ")
		return enc.Encode(first)
	case t.once:
		return printTop(t.env.out, first)
	}
	if why := t.env.noScreen(); why != "" {
		fmt.Fprintf(t.env.err, "%s: %s: what runs now, once\n", t.env.program, why)
		return printTop(t.env.out, first)
	}
	err = tui.Top{Title: title, First: first, Look: look}.Run(ctx, tui.Config{
		In: t.env.in, Out: t.env.out, Color: o.coloured(true), ASCII: tui.IsASCII(t.env.getenv),
	})
	if errors.Is(err, tui.ErrLeft) {
		return &result.Error{Word: result.CodeInterrupted, Text: "interrupted"}
	}
	return err
}

// source is where the figures come from, and its name.
func (t *top) source() (look func(context.Context) (live.Snapshot, error), title string, err error) {
	if t.url == "" {
		if t.token != "" {
			return nil, "", misuse("", "--token-file %s: a control socket needs no token; give --url, or leave it out", t.token)
		}
		socket := t.control
		if socket == "" {
			if socket, err = controlOf(t.env, &t.config); err != nil {
				return nil, "", err
			}
		}
		return askLive(socket), socket, nil
	}
	if t.control != "" {
		return nil, "", misuse("", "--url and --control exclude each other; choose one")
	}
	u, err := url.Parse(t.url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, "", misuse("", "%s: not the address of pages; give a URL such as https://speed.example.net", flagValue("url", t.url))
	}
	token := ""
	if t.token != "" {
		if token, err = readSecretOf("token-file", t.token); err != nil {
			return nil, "", err
		}
	}
	return askPages(u, token), u.Host, nil
}

// askLive asks at a control socket.
func askLive(socket string) func(context.Context) (live.Snapshot, error) {
	client := controlClient(socket)
	return func(ctx context.Context) (s live.Snapshot, err error) {
		status, err := getJSON(ctx, client, "http://sonde/live", "", &s)
		switch {
		case status == 0 && err != nil:
			err = noDaemon(socket, err)
		case status == http.StatusNotFound:
			err = &result.Error{Word: result.CodeRefused, Text: socket + ": an older sonde serve, which does not tell what it does", Hint: "restart it with this program"}
		}
		return s, err
	}
}

// askPages asks the pages of a server.
func askPages(u *url.URL, token string) func(context.Context) (live.Snapshot, error) {
	// A redirect would take the token elsewhere.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	at := u.JoinPath("api", "tests").String()
	return func(ctx context.Context) (live.Snapshot, error) {
		var tests []struct {
			live.Test
			Username *string   `json:"username"`
			Peer     string    `json:"peer_ip"`
			Started  time.Time `json:"started_at"`
		}
		status, err := getJSON(ctx, client, at, token, &tests)
		if err != nil {
			word, hint := result.CodeUnreachable, "is the server running, and does web.listen mean this address?"
			if status == http.StatusUnauthorized || status == http.StatusForbidden {
				hint = "give --token-file with a token that sonde users token makes"
			} else if status != 0 {
				hint = "give the URL of the pages of sonde"
			}
			return live.Snapshot{}, &result.Error{Word: word, Text: u.Host, Err: err, Hint: hint}
		}
		s := live.Snapshot{Schema: live.Schema, Time: time.Now(), Tests: []live.Test{}}
		for _, one := range tests[:min(len(tests), 1<<14)] {
			t := one.Test
			t.Peer, t.Began = one.Peer, one.Started
			if one.Username != nil {
				t.Account = *one.Username
			}
			s.Tests = append(s.Tests, t)
		}
		return s, nil
	}
}

// getJSON asks for a document; status is 0 when nobody answered.
func getJSON(ctx context.Context, client *http.Client, at, token string, v any) (status int, err error) {
	ctx, stop := context.WithTimeout(ctx, topWait)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, cause(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode, errors.New(answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, mostTop)).Decode(v); err != nil {
		return answer.StatusCode, fmt.Errorf("its answer is none of sonde: %w", err)
	}
	return answer.StatusCode, nil
}

// printTop prints a snapshot as plain lines.
func printTop(w io.Writer, s live.Snapshot) error {
	var b strings.Builder
	for _, line := range tui.TopLines(s) {
		b.WriteString(plain(line) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
