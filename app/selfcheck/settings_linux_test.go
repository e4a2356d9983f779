package selfcheck

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSettings(t *testing.T) {
	system := map[string]string{
		"net.core.rmem_max":                   "212992",
		"net.core.wmem_max":                   "4194304",
		"net.ipv4.tcp_rmem":                   "4096 131072 6291456",
		"net.ipv4.tcp_wmem":                   "4096 16384 33554432",
		"net.ipv4.ping_group_range":           "100 200",
		"net.ipv4.ip_unprivileged_port_start": "500",
	}
	read := func(name string) (string, bool) { text, ok := system[name]; return text, ok }
	want := map[string]string{ // what to think of them
		"net.core.rmem_max": "no", "net.core.wmem_max": "yes", "net.ipv4.tcp_rmem": "no", "net.ipv4.tcp_wmem": "yes",
		"net.netfilter.nf_conntrack_max": "cannot tell", "net.ipv4.ping_group_range": "yes", "net.ipv4.ip_unprivileged_port_start": "yes",
	}
	var all []Setting
	for _, l := range limits {
		all = append(all, l.look(read))
	}
	for _, s := range append(all, echoes(read, 150), lowPorts(read, 1000)) {
		if strings.HasPrefix(s.Name, "net.core.") && may(unix.CAP_NET_ADMIN) {
			want[s.Name] = "yes"
		}
		got := "cannot tell"
		if s.OK != nil {
			got = map[bool]string{true: "yes", false: "no"}[*s.OK]
		}
		if got != want[s.Name] {
			t.Errorf("%s = %v: %s, want %s", s.Name, s.Have, got, want[s.Name])
		}
		if (s.Have == nil) != (got == "cannot tell") || s.Why == "" || s.Want == "" || s.Do == "" {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(s.Do, "setcap") && !strings.Contains(s.Do, s.Name+"=") {
			t.Errorf("%s is mended by %q", s.Name, s.Do)
		}
	}
}

// Here as everywhere on Linux, what is looked at is there but for the firewall's.
func TestSettingsHere(t *testing.T) {
	for _, s := range Settings() {
		if s.Have == nil && !strings.Contains(s.Name, "conntrack") && !strings.HasPrefix(s.Name, "net.core.") {
			t.Errorf("%s cannot be read", s.Name)
		}
	}
}
