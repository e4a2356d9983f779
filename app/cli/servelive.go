//go:build !nano

package cli

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/app/live"
)

// live answers what the daemon does just now.
func (d *daemon) live(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(d.board.Snapshot(time.Now())) // whoever has gone misses it
}

// boardProbes are the probes of a configuration as the board has them.
func boardProbes(all []config.Probe) []live.Probe {
	var probes []live.Probe
	for _, p := range all {
		probes = append(probes, live.Probe{Name: p.Name, Protocol: p.Protocol, Target: p.Target, Every: time.Duration(p.Every).Seconds()})
	}
	return probes
}
