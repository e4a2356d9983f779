//go:build !nano

package cli

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// A reload that wants what another program has is refused, and all goes on as it
// was: also where the sockets are UDP's.
func TestReloadOfBusyPorts(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.LocalAddr().(*net.UDPAddr).Port
	const base = `
server:
  rperf: {listen: "127.0.0.1:0"}
  mesh: {listen: "127.0.0.1:0"}
control: {socket: FOLDER/sonde.sock}
`
	d := startDaemon(t, base)
	at := d.address("rperf")
	d.await("err", `server=mesh`)
	for name, text := range map[string]string{
		"iperf3": strings.Replace(base, "server:\n", fmt.Sprintf("server:\n  iperf3: {listen: \"127.0.0.1:%d\"}\n", busy), 1),
		"mesh":   strings.Replace(base, `mesh: {listen: "127.0.0.1:0"}`, fmt.Sprintf(`mesh: {listen: "127.0.0.1:%d"}`, busy), 1),
	} {
		d.write(text)
		if said := d.client(2, "reload", "--config", d.file("sonde.yaml")); !strings.Contains(said, "address already in use") {
			t.Errorf("%s: %s", name, said)
		}
		d.client(0, "rperf", "client", at, "-t", "1", "--no-latency")
	}
	d.write(base)
	d.client(0, "reload", "--config", d.file("sonde.yaml"))
	d.client(0, "rperf", "client", at, "-t", "1", "--no-latency")
}
