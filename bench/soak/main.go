// Soak runs sonde serve for long with many clients that come, go and vanish, and
// scheduled probes beside them, and watches what it keeps: memory, descriptors,
// goroutines. Linux only, for /proc.
//
//	go build -o sonde . && go run ./bench/soak -for 30m -clients 200 -probes 20 ./sonde
//
// The server is a process of its own; the clients are all in this one.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(log.Ltime)
	length := flag.Duration("for", 30*time.Minute, "how long the clients come and go")
	clients := flag.Int("clients", 200, "clients at once")
	probes := flag.Int("probes", 20, "scheduled probes of the server")
	every := flag.Duration("every", 10*time.Second, "time between two looks at the server")
	out := flag.String("o", "soak", "`FOLDER` for the charts and the table")
	flag.Parse()
	if flag.NArg() != 1 || *length <= 0 || *clients < 1 || *every <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flag.Arg(0), *length, *every, *clients, *probes, *out); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, program string, length, every time.Duration, clients, probes int, out string) error {
	folder, err := os.MkdirTemp("", "soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	s, err := start(program, folder, probes)
	if err != nil {
		return err
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	within, stop := context.WithTimeout(ctx, length)
	defer stop()
	var crowd sync.WaitGroup
	tally := &tally{}
	for n := range clients {
		crowd.Go(func() { comeAndGo(within, s, tally, n) })
	}
	r := &record{began: time.Now(), clients: clients, probes: probes}
	r.watch(within, s, every)
	log.Print("the clients go")
	crowd.Wait()
	// What was in use for them comes back.
	rest, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r.loaded = len(r.samples)
	r.watch(rest, s, every)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	return r.write(out, tally)
}

// A server is sonde serve as a process.
type server struct {
	cmd                              *exec.Cmd
	btest, rperf, iperf3, twamp, web string
}

const config = `
server:
  btest: {listen: %q, max_tests: 0, max_tests_per_address: 0, max_connections: 0, max_connections_per_address: 0, max_logins: 0, max_logins_per_address: 0, udp_ports: 20000-20255}
  rperf: {listen: %q, max_tests: 0, max_tests_per_address: 0, max_connections: 0, max_connections_per_address: 0}
  iperf3: {listen: %q, max_tests: 0, max_tests_per_address: 0, max_connections: 0, max_connections_per_address: 0}
  twamp: {listen: %q, max_pps_per_address: 0}
web: {listen: %q}
control: {socket: %q}
log: {level: error}
`

func start(program, folder string, probes int) (*server, error) {
	s := &server{}
	for _, at := range []*string{&s.btest, &s.rperf, &s.iperf3, &s.twamp, &s.web} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*at = l.Addr().String()
		defer l.Close()
	}
	text := fmt.Sprintf(config, s.btest, s.rperf, s.iperf3, s.twamp, s.web, filepath.Join(folder, "sonde.sock"))
	if probes > 0 {
		text += "probes:\n"
		for n := range probes {
			text += fmt.Sprintf("  - {name: probe%d, protocol: stamp, target: %q, every: 10s, jitter: 5s, packets: 20, options: {interval: 50ms}}\n", n, s.twamp)
		}
	}
	name := filepath.Join(folder, "sonde.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s.cmd = exec.Command(program, "serve", "--config", name)
	s.cmd.Stderr = os.Stderr
	return s, nil
}

// begin starts the process once its ports are free again.
func (s *server) begin() error {
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for range 200 {
		if _, err := s.look(); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.end()
	return fmt.Errorf("the server does not answer on %s", s.web)
}

// end stops the process.
func (s *server) end() {
	if s.cmd.Process == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.cmd.Wait()
}
