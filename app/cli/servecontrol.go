//go:build !nano

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/result"
)

// controlWait is how long the local API is waited for: a reload opens sockets
// and reads files, no more.
const controlWait = 30 * time.Second

// mostAnswer bounds what is read of the local API.
const mostAnswer = 1 << 20

// controlSocket is the path that the configuration means.
func controlSocket(getenv func(string) string, c config.Control) string {
	if c.Socket != "auto" {
		return c.Socket
	}
	for _, name := range []string{"RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"} {
		if folder := getenv(name); folder != "" {
			return filepath.Join(strings.Split(folder, ":")[0], "sonde.sock")
		}
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(getenv("ProgramData"), "sonde", "sonde.sock")
	}
	return serviceSocket
}

// serviceSocket is that of the service of the packages.
const serviceSocket = "/run/sonde/sonde.sock"

// startControl serves the local API on a socket that only our user can reach. A
// socket of auto that cannot be made is only remarked on.
func (d *daemon) startControl(l *config.Loaded) (func(), error) {
	path := controlSocket(d.env.getenv, l.Control)
	listener, err := listenControl(path)
	if err != nil {
		fault := l.Fault("control.socket", "%s: %v", path, cause(err))
		if l.Control.Socket != "auto" {
			return nil, fault
		}
		d.log.Warn("no local API: sonde reload and sonde health will not reach this server; control.socket", "err", fault)
		return func() {}, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", d.healthz)
	mux.HandleFunc("GET /readyz", d.readyz)
	mux.HandleFunc("GET /live", d.live)
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		answer := make(chan error, 1)
		select {
		case d.asked <- answer:
		case <-r.Context().Done():
			return
		case <-d.began.Done():
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		if err := <-answer; err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		}
	})
	ctx, stop := context.WithCancel(d.began)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := serveHTTP(ctx, listener, mux); err != nil && ctx.Err() == nil {
			d.log.Error("the local API has ended", "err", err)
		}
	}()
	return func() { stop(); <-done }, nil
}

// listenControl listens on a Unix socket of mode 0600, in the place of one that
// nobody serves any more.
func listenControl(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, errors.New("another sonde serve listens there; give each its own with control.socket")
	}
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&os.ModeSocket == 0 {
		return nil, errors.New("there is a file that is no socket; give another name")
	}
	if err == nil {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// controlOf is the path of the socket of the configuration.
func controlOf(e *env, f *configFlags) (string, error) {
	l, err := f.load(e)
	if l == nil {
		return "", err
	}
	// Faults of the file are for the daemon to tell; the socket is known all the same.
	c := l.Control
	if c.Socket == "" {
		c.Socket = "auto"
	}
	if c.Socket == "none" {
		return "", misuse("", "control.socket none: there is no local API to ask")
	}
	path := controlSocket(e.getenv, c)
	if _, err := os.Stat(path); c.Socket == "auto" && os.IsNotExist(err) && runtime.GOOS != "windows" {
		if _, err := os.Stat(serviceSocket); err == nil {
			return serviceSocket, nil // of a service, while our session has a folder of its own
		}
	}
	return path, nil
}

// controlClient asks at a socket.
func controlClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
}

// noDaemon tells that nobody answers at a socket.
func noDaemon(socket string, err error) error {
	return &result.Error{Word: result.CodeRefused, Text: socket, Err: cause(err), Hint: "is sonde serve running, and are we its user? control.socket says where it listens"}
}

// askDaemon sends a request to the running daemon and prints the answer.
func askDaemon(ctx context.Context, e *env, f *configFlags, method, path string) error {
	socket, err := controlOf(e, f)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, controlWait)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, method, "http://sonde"+path, nil)
	if err != nil {
		return err
	}
	answer, err := controlClient(socket).Do(r)
	if err != nil {
		return noDaemon(socket, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	if err != nil {
		return &result.Error{Word: result.CodeRefused, Text: socket, Err: cause(err)}
	}
	text := strings.TrimSpace(string(body))
	switch answer.StatusCode {
	case http.StatusOK:
		if text != "" {
			_, err = fmt.Fprintln(e.out, text)
		}
		return err
	case http.StatusUnprocessableEntity:
		return misuse("the old configuration goes on", "%s", text)
	}
	return &result.Error{Word: result.CodeRefused, Text: text}
}

func reloadCommand(e *env) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "have the running sonde serve read its configuration again",
		Long: `Have the running sonde serve read its configuration again, as SIGHUP does. Running
tests go on. If anything is wrong it is told here, nothing changes, and the exit
status is 2.`,
		Example: "  sonde reload",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return askDaemon(cmd.Context(), e, &f, http.MethodPost, "/reload")
		},
	}
	f.register(cmd.Flags())
	return cmd
}

func healthCommand(e *env) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:     "health",
		Short:   "ask the running sonde serve whether it is ready",
		Long:    `Ask the running sonde serve whether all that its configuration has is there; exit status 1 if not.`,
		Example: "  sonde health",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return askDaemon(cmd.Context(), e, &f, http.MethodGet, "/readyz")
		},
	}
	f.register(cmd.Flags())
	return cmd
}
