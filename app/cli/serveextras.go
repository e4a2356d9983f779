//go:build !nano

package cli

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/mesh"
)

// An extra is what the daemon runs besides the servers of listeners.
type extra struct {
	settings string // the same text means the same settings
	stop     func() // returns when it has ended
}

// startExtras makes the extras those of the configuration: what is the same goes
// on, what is not is stopped and started. All that cannot start is told.
func (d *daemon) startExtras(l *config.Loaded) error {
	var errs []error
	for _, one := range []struct {
		section string
		there   bool
		start   func(*config.Loaded) (stop func(), err error)
	}{
		{"control", l.Control.Socket != "none", d.startControl},
		{"server.mesh", l.Server.Mesh != nil, d.startMesh},
	} {
		settings := sectionText(l, one.section)
		old, runs := d.extras[one.section]
		if runs && one.there && old.settings == settings {
			continue
		}
		if runs {
			old.stop()
			delete(d.extras, one.section)
		}
		if !one.there {
			continue
		}
		stop, err := one.start(l)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.extras[one.section] = extra{settings: settings, stop: stop}
	}
	return config.Join(errs...)
}

func (d *daemon) stopExtras() {
	for name, one := range d.extras {
		one.stop()
		delete(d.extras, name)
	}
}

// sectionText tells the settings of a section from others.
func sectionText(l *config.Loaded, section string) string {
	var b strings.Builder
	for key, texts := range l.Values(section) {
		fmt.Fprintf(&b, "%s=%q\n", key, texts)
	}
	return b.String()
}

// startMesh starts the rendezvous server of ptptest.
func (d *daemon) startMesh(l *config.Loaded) (func(), error) {
	c := l.Server.Mesh
	var conns []net.PacketConn
	for _, a := range c.Listen {
		conn, err := (&net.ListenConfig{}).ListenPacket(d.began, strings.Replace(network(a), "tcp", "udp", 1), a)
		if err != nil {
			for _, one := range conns {
				one.Close()
			}
			return nil, cannotListen(a, err)
		}
		conns = append(conns, conn)
		d.log.Info("listening", "address", conn.LocalAddr().String(), "server", "mesh")
	}
	s := &mesh.Server{Name: c.Name, Log: d.log, Limits: mesh.Limits{Clients: int(c.MaxClients), PerSite: int(c.MaxPerAddress)}}
	if c.Relay {
		s.Relay = &mesh.Relaying{Rate: uint64(c.RelayRate), Bytes: uint64(c.RelayBytes)}
	}
	ctx, stop := context.WithCancel(d.began)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ctx, conns...); err != nil && ctx.Err() == nil {
			select {
			case d.failed <- fmt.Errorf("server.mesh: %w", err):
			default:
			}
		}
	}()
	return func() { stop(); <-done }, nil
}
