package tui

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/sonde-net/sonde/app/meshview"
	"github.com/sonde-net/sonde/mesh"
)

var update = flag.Bool("update", false, "rewrite the golden screens")

// scene is a server with n nodes: a with an evil name, each pair another way.
func scene(n int) MeshScene {
	rtt, jitter, ratio := 12*time.Millisecond, 300*time.Microsecond, 0.025
	words := []string{mesh.PathDirect, mesh.PathPunched, mesh.PathMapped, mesh.PathRelayed, mesh.PathNone}
	id := func(i int) string { return fmt.Sprintf("%08d-0000", i) }
	var s mesh.ServerStatus
	for i := range n {
		c := mesh.ClientStatus{
			ID: id(i), Name: fmt.Sprintf("node-%d", i), Sent: uint64(i), Received: 9, Acked: uint64(i), RTT: &rtt,
			Addresses: []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 4000)},
			Mapping:   "endpoint-independent", Filtering: "address and port-dependent",
		}
		if i == 1 {
			c.Name = "b\x1b[2J\u202eöl 東京"
		}
		for j := range n {
			if i == j || i == 2 {
				continue
			}
			p := mesh.PairStatus{Peer: id(j), Path: words[(i+j)%5], State: "direct", RTT: &rtt, Jitter: &jitter, Sent: 120, Lost: 3, Ratio: &ratio}
			switch p.Path {
			case mesh.PathRelayed, mesh.PathNone:
				p.State, p.Reason, p.Hint = "relay", "one NAT gives a new port for each destination and the other side lets in only whom it has sent to: neither can know where to send", "let one router map a port"
			}
			c.Pairs = append(c.Pairs, p)
		}
		s.Clients = append(s.Clients, c)
	}
	home := meshview.Node{ID: "h", Label: "hub", Kind: "server", Address: "192.0.2.1:23456", Up: true, RTT: &rtt}
	return MeshScene{View: meshview.OfServer(s), Homes: []meshview.Node{home}, Status: []string{"Address: 203.0.113.9:5", "NAT type: Full Cone", "NAT address: 203.0.113.9:5"}}
}

func modelOf(s MeshScene, width, height int, c Config) *meshModel {
	log := &Log{}
	for i := range 30 {
		fmt.Fprintf(log, "%02d ACK from client; RTT 0.000844s µ\x1b[31m\n", i)
	}
	m := &meshModel{Mesh: Mesh{Title: "PTP Server version 0.2-dev", Log: log, Look: func() MeshScene { return s }}, c: c, scene: s}
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	return m
}

func press(m *meshModel, keys ...string) *meshModel {
	for _, k := range keys {
		m.key(k)
	}
	return m
}

// TestMeshScreens holds screens against testdata, without colours.
func TestMeshScreens(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    *meshModel
	}{
		{"table-80x24", modelOf(scene(5), 80, 24, Config{})},
		{"ascii-80x24", modelOf(scene(5), 80, 24, Config{ASCII: true})},
		{"many-80x24", press(modelOf(scene(60), 80, 24, Config{}), "down", "down", "s")},
		{"matrix-80x24", press(modelOf(scene(5), 80, 24, Config{}), "tab", "right", "right", "right")},
		{"matrix-many-80x24", press(modelOf(scene(60), 80, 24, Config{ASCII: true}), strings.Split("tab"+strings.Repeat(" right down", 29)+" right", " ")...)},
		{"both-200x50", press(modelOf(scene(12), 200, 50, Config{}), "right", "p")},
		{"nobody-80x24", modelOf(MeshScene{}, 80, 24, Config{})},
		{"help-80x24", press(modelOf(scene(2), 80, 24, Config{}), "?")},
		{"tiny-10x5", modelOf(scene(2), 10, 5, Config{})},
		{"low-40x9", modelOf(scene(2), 40, 9, Config{})},
	} {
		got := ansi.Strip(tt.m.draw())
		lines := strings.Split(got, "\n")
		if tt.name != "tiny-10x5" && len(lines) != tt.m.height {
			t.Errorf("%s: %d lines on a screen of %d", tt.name, len(lines), tt.m.height)
		}
		for i, l := range lines {
			lines[i] = strings.TrimRight(l, " ")
			if w := ansi.StringWidth(l); w > tt.m.width && tt.name != "tiny-10x5" {
				t.Errorf("%s: line %d has %d columns", tt.name, i, w)
			}
			if strings.ContainsAny(l, "\x1b\u202e") {
				t.Errorf("%s: line %d moves the cursor: %q", tt.name, i, l)
			}
			if tt.m.c.ASCII && strings.ContainsFunc(l, func(r rune) bool { return r > 0x7e }) {
				t.Errorf("%s: line %d is not ASCII: %q", tt.name, i, l)
			}
		}
		got = strings.Join(lines, "\n") + "\n"
		file := filepath.Join("testdata", "mesh-"+tt.name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != got {
			t.Errorf("%s is now (%v; -update takes it over)\n%s", file, err, got)
		}
	}
}

// Whatever the size, whatever the keys: a whole screen, and no panic.
func TestMeshSizes(t *testing.T) {
	for _, n := range []int{0, 2, 40} {
		for width := 18; width < 130; width += 17 {
			for height := 1; height < 60; height += 6 {
				m := modelOf(scene(n), width, height, Config{Color: true})
				for _, k := range []string{"", "tab", "down", "right", "right", "s", "s", "?", "?", "p", "up", "left", "enter"} {
					press(m, k)
					for i, l := range strings.Split(m.draw(), "\n") {
						if w := ansi.StringWidth(l); w > width && width >= 20 && height >= 8 {
							t.Fatalf("%d nodes, %dx%d, after %q: line %d has %d columns: %q", n, width, height, k, i, w, l)
						}
					}
				}
			}
		}
	}
}

// A paused screen stays as it is; the others look anew each second.
func TestMeshTicks(t *testing.T) {
	looks := 0
	m := modelOf(scene(2), 80, 24, Config{})
	m.Look = func() MeshScene { looks++; return scene(3) }
	if m.Init() == nil {
		t.Error("nothing is to come")
	}
	m.Update(tick{})
	press(m, "p")
	m.Update(tick{})
	if looks != 1 || len(m.scene.View.Nodes) != 3 {
		t.Errorf("looked %d times", looks)
	}
	for _, k := range []string{"q", "Q", "ctrl+c"} {
		if m.key(k) == nil {
			t.Errorf("%s does not leave", k)
		}
	}
}

func TestIsASCII(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{"LANG": "de_DE.UTF-8"}, false},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, true},
		{map[string]string{"LC_CTYPE": "C.utf8"}, false},
		{map[string]string{"LANG": "de_DE.UTF-8", "TERM": "dumb"}, true},
		{nil, true},
	} {
		if got := IsASCII(func(k string) string { return tt.env[k] }); got != tt.want {
			t.Errorf("%v: %v", tt.env, got)
		}
	}
}

// The log keeps the latest lines and is not grown by one without an end.
func TestLog(t *testing.T) {
	l := &Log{}
	for i := range 500 {
		fmt.Fprintf(l, "line %d\nhalf", i)
		fmt.Fprint(l, " and half\n")
	}
	if got := l.last(2); len(l.lines) != maxLog || got[0] != "line 499" || got[1] != "half and half" {
		t.Errorf("%q of %d", got, len(l.lines))
	}
	for range 100 {
		l.Write(make([]byte, 1<<16))
	}
	if len(l.rest) > maxLine {
		t.Errorf("%d bytes wait", len(l.rest))
	}
}
