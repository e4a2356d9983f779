//go:build !nano

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/sonde-net/sonde/result"
)

// A manager is the service manager, if sonde was started by one that speaks the
// protocol of systemd; else all of it does nothing.
type manager struct {
	sockets map[string]net.Listener // handed over, by NAME#N
}

// say tells the manager how the service is.
func (m *manager) say(state string) {
	_, _ = systemd.SdNotify(false, state) // whoever does not listen is not told
}

// reloading tells it that the configuration is read again.
func (m *manager) reloading() {
	m.say("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(monotonic().Microseconds(), 10))
}

// watchdog ticks when the manager wants to hear that we live: twice as often as
// it would lose patience.
func (m *manager) watchdog() *time.Ticker {
	every, err := systemd.SdWatchdogEnabled(false)
	if err != nil || every <= 0 {
		t := time.NewTicker(time.Hour)
		t.Stop()
		return t
	}
	return time.NewTicker(every / 2)
}

// inherit takes the sockets that the manager opened for us.
func (m *manager) inherit(log *slog.Logger) {
	m.sockets = map[string]net.Listener{}
	byName, err := activation.ListenersWithNames()
	if err != nil {
		log.Warn("sockets of the service manager", "err", err)
		return
	}
	for name, all := range byName {
		for i, l := range all {
			if l == nil {
				log.Warn("a socket of the service manager that is none of TCP", "name", name)
				continue
			}
			m.sockets[fmt.Sprintf("%s#%d", strings.TrimSuffix(name, ".socket"), i)] = l
		}
	}
}

// named are the sockets that were handed over for a server.
func (m *manager) named(name string) []string {
	var all []string
	for i := 0; m.sockets[fmt.Sprintf("%s#%d", name, i)] != nil; i++ {
		all = append(all, fmt.Sprintf("%s#%d", name, i))
	}
	return all
}

// listen opens an address of a server, or takes the socket of that name.
func (m *manager) listen(ctx context.Context, p part, address string) (net.Listener, error) {
	if l := m.sockets[address]; l != nil {
		return l, nil
	}
	all, err := open(ctx, p.config, []string{address})
	if e, ok := errors.AsType[*result.Error](err); ok {
		e.Text, e.Hint = p.section()+".listen: "+e.Text, strings.ReplaceAll(e.Hint, "choose a port with --port", "choose another port")
	}
	if err != nil {
		return nil, err
	}
	return all[0], nil
}
