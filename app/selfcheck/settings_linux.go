package selfcheck

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sonde-net/sonde/result"
)

// A limit is one of the system's numbers: field of them all in the file of its
// name under /proc/sys, which should be least or more.
type limit struct {
	name  string
	field int
	least uint64
	why   string
	do    string // the value to write; least if empty
	// forced says that a process with CAP_NET_ADMIN may go beyond.
	forced bool
}

// limits are what sonde asks for on sockets (internal/sock), and what a server
// with many clients uses up.
var limits = []limit{
	{"net.core.rmem_max", 0, 64 << 20, "datagrams are lost in this host while the receiver is busy, and look like loss on the path", "", true},
	{"net.core.wmem_max", 0, 4 << 20, "a sender of datagrams waits for the network card in small steps", "", true},
	{"net.ipv4.tcp_rmem", 2, 32 << 20, "a TCP download over a long, fast path is held by the window of this host", "'4096 131072 33554432'", false},
	{"net.ipv4.tcp_wmem", 2, 32 << 20, "a TCP upload over a long, fast path is held by the window of this host", "'4096 65536 33554432'", false},
	{"net.netfilter.nf_conntrack_max", 0, 65536, "the firewall of this host forgets flows when many clients test at once", "", false},
}

// Settings looks at the limits of this system. Reading them needs no privilege.
func Settings() []Setting {
	var all []Setting
	for _, l := range limits {
		all = append(all, l.look(readSetting))
	}
	return append(all, echoes(readSetting, os.Getgid()), lowPorts(readSetting, os.Geteuid()), files())
}

// readSetting is the text of a setting; false where there is none of that name.
func readSetting(name string) (string, bool) {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	return strings.Join(strings.Fields(string(b)), " "), err == nil
}

func (l limit) look(read func(string) (string, bool)) Setting {
	s := Setting{Name: l.name, Want: fmt.Sprintf("%d or more", l.least), Why: l.why}
	if l.forced {
		s.Want += ", or CAP_NET_ADMIN"
	}
	do := l.do
	if do == "" {
		do = strconv.FormatUint(l.least, 10)
	}
	s.Do = "sysctl -w " + l.name + "=" + do
	text, ok := read(l.name)
	if !ok {
		return s
	}
	s.Have = &text
	words := strings.Fields(text)
	if l.field < len(words) {
		if n, err := strconv.ParseUint(words[l.field], 10, 64); err == nil {
			s.OK = result.Some(n >= l.least || l.forced && may(unix.CAP_NET_ADMIN))
		}
	}
	return s
}

// echoes asks whether group gid may send ICMP echoes without privilege.
func echoes(read func(string) (string, bool), gid int) Setting {
	s := Setting{
		Name: "net.ipv4.ping_group_range", Want: fmt.Sprintf("a range with group %d", gid),
		Why: "round trips beside a test are measured by TCP connections instead of ICMP echoes",
		Do:  "sysctl -w net.ipv4.ping_group_range='0 2147483647'",
	}
	if text, ok := read(s.Name); ok {
		s.Have = &text
		var low, high int
		if n, _ := fmt.Sscan(text, &low, &high); n == 2 {
			s.OK = result.Some(low <= gid && gid <= high || os.Geteuid() == 0)
		}
	}
	return s
}

// lowPorts asks whether user uid may listen on port 862, TWAMP's.
func lowPorts(read func(string) (string, bool), uid int) Setting {
	s := Setting{
		Name: "net.ipv4.ip_unprivileged_port_start", Want: "862 or less, or CAP_NET_BIND_SERVICE",
		Why: "TWAMP and STAMP cannot be served on their own port",
		Do:  "setcap cap_net_bind_service=+ep sonde",
	}
	if text, ok := read(s.Name); ok {
		s.Have = &text
		if n, err := strconv.Atoi(text); err == nil {
			s.OK = result.Some(n <= 862 || uid == 0 || may(unix.CAP_NET_BIND_SERVICE))
		}
	}
	return s
}

// may tells whether this process has a capability.
func may(capability uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<capability) != 0
}

// files asks how many files and sockets this process may open.
func files() Setting {
	s := Setting{
		Name: "open files (ulimit -n)", Want: "4096 or more",
		Why: "a server refuses clients when all its descriptors are in use",
		Do:  "ulimit -n 65535",
	}
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil {
		// The runtime raises the soft limit to the hard one.
		s.Have = result.Some(strconv.FormatUint(r.Max, 10))
		s.OK = result.Some(r.Max >= 4096)
	}
	return s
}
