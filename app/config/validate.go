package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/unit"
	"github.com/sonde-net/sonde/app/verdict"
)

// A complaint tells what is wrong with a key of a section.
type complaint func(key, format string, args ...any)

// validate finds what no single value shows. Values that are wrong by themselves
// were left out before.
func (l *Loaded) validate() Faults {
	var faults Faults
	at := func(prefix string) complaint {
		return func(key, format string, args ...any) {
			faults = append(faults, l.Fault(strings.Trim(prefix+"."+key, "."), format, args...))
		}
	}
	l.Log.validate(at("log"))
	if s := l.Server.Mesh; s != nil {
		s.validate(at("server.mesh"))
	}
	l.Store.validate(at("store"))
	l.Limits.validate(at("limits"), l.Store.DSN != "")
	if l.LDAP != nil {
		l.LDAP.validate(at("ldap"), l.Store.DSN != "")
	}
	if l.Web != nil {
		l.Web.validate(at("web"))
	}
	l.Outputs.validate(at("outputs"))
	for name, m := range l.Modules {
		m.validate(at("modules." + name))
	}
	first := map[string]int{}
	for i, p := range l.Probes {
		bad := at("probes" + index(i))
		p.validate(bad)
		if before, twice := first[p.Name]; twice && p.Name != "" {
			bad("name", "%s: probes[%d] has that name already; choose another", p.Name, before)
			continue
		}
		first[p.Name] = i
	}
	return faults
}

// index is where an entry of a list is.
func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// oneOf complains of a word that is none of the known ones.
func oneOf(bad complaint, key, word string, known ...string) {
	switch {
	case slices.Contains(known, word):
	case word == "":
		bad(key, "it is missing; give one of %s", strings.Join(known, ", "))
	default:
		bad(key, "%s: not one of the choices %s", shown(word), suggestion(word, known))
	}
}

func (l *Log) validate(bad complaint) {
	oneOf(bad, "level", l.Level, "debug", "info", "warn", "error")
	oneOf(bad, "format", l.Format, "auto", "text", "json", "journal")
}

func (m *Mesh) validate(bad complaint) {
	if len(m.Name) > 63 {
		bad("name", "%d bytes long; at most 63 fit", len(m.Name))
	}
	for _, a := range m.Listen {
		if !address(a, 0) {
			bad("listen", "%s: not an address to listen on; give :PORT or ADDR:PORT, such as :23456", shown(a))
		}
	}
	if m.MaxClients < 1 {
		bad("max_clients", "%d: want 1 or more", m.MaxClients)
	}
	if m.MaxPerAddress < 1 {
		bad("max_clients_per_address", "%d: want 1 or more", m.MaxPerAddress)
	}
}

// address reports whether text is ADDR:PORT or :PORT, with a port from least on.
func address(text string, least uint64) bool {
	host, number, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	if host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			return false
		}
	}
	n, err := strconv.ParseUint(number, 10, 16)
	return err == nil && n >= least
}

func (w *Web) validate(bad complaint) {
	if !address(w.Listen, 0) {
		bad("listen", "%s: not an address to listen on; give ADDR:PORT or :PORT, such as 127.0.0.1:8080", shown(w.Listen))
	}
	if w.MaxConnections < 1 {
		bad("max_connections", "%d: want 1 or more", w.MaxConnections)
	}
	for _, p := range w.TrustedProxies {
		if _, err := ParseNetwork(p); err != nil {
			bad("trusted_proxies", "%s: neither an address nor a network; give such as 10.0.0.1 or 10.0.0.0/8", shown(p))
		}
	}
	w.validateTLS(bad)
	if w.ProbeDeadline == 0 {
		bad("probe_deadline", "0s: want more than 0, such as 10s")
	}
	if w.MaxProbes < 1 {
		bad("max_probes", "%d: want 1 or more", w.MaxProbes)
	}
	for _, t := range w.ProbeTargets {
		if strings.Contains(t, "/") {
			if _, err := netip.ParsePrefix(t); err != nil {
				bad("probe_targets", "%s: not a network; give such as 192.0.2.0/24, or a host", shown(t))
			}
		} else if t == "" || strings.ContainsAny(t, " \t") {
			bad("probe_targets", "%s: neither a host nor a network", shown(t))
		}
	}
}

func (w *Web) validateTLS(bad complaint) {
	switch {
	case w.TLSCert != "" && w.TLSKey == "":
		bad("tls_key", "it is missing; give the private key of the certificate")
	case w.TLSKey != "" && w.TLSCert == "":
		bad("tls_cert", "it is missing; give the certificate of the key")
	case w.TLSCert != "" && len(w.ACMEDomains) > 0:
		bad("acme_domains", "there is a certificate in tls_cert already; leave one of them out")
	}
	for _, d := range w.ACMEDomains {
		if !wantDomain.MatchString(d) {
			bad("acme_domains", "%s: not the name of a host; give such as test.example.net", shown(d))
		}
	}
	if len(w.ACMEDomains) > 0 && w.ACMEFolder == "" {
		bad("acme_folder", "it is missing; give such as /var/lib/sonde/acme")
	}
	if w.ACMEDirectory != "" && !isURL(w.ACMEDirectory) {
		bad("acme_directory", "%s: not a URL; give such as https://acme.example.net/directory", shown(w.ACMEDirectory))
	}
}

// wantDomain is a name that a certificate can be for.
var wantDomain = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

func (o *Outputs) validate(bad complaint) {
	if s := o.Syslog; s != nil {
		if s.Address == "" {
			bad("syslog.address", "it is missing; give such as udp://192.0.2.1:514")
		}
		oneOf(bad, "syslog.format", s.Format, "rfc3164", "rfc5424")
	}
	if f := o.File; f != nil {
		if f.Path == "" {
			bad("file.path", "it is missing; give such as /var/lib/sonde/results.jsonl")
		}
		if f.MaxSize < 1<<10 && f.MaxSize != 0 {
			bad("file.max_size", "%d: want 1K or more, or 0 for no limit", f.MaxSize)
		}
		if f.Keep < 0 {
			bad("file.keep", "%d: want 0 or more", f.Keep)
		}
	}
	if c := o.OTLP; c != nil {
		if !isURL(c.Endpoint) {
			bad("otlp.endpoint", "%s: not the URL of a collector; give such as http://collector:4318", shown(c.Endpoint))
		}
		if time.Duration(c.Every) < time.Second {
			bad("otlp.every", "%v: want 1s or more", time.Duration(c.Every))
		}
	}
	if c := o.Change; c != nil {
		if c.Webhook == "" && len(c.Command) == 0 {
			bad("on_change", "neither webhook nor command; give one of them, or leave the section out")
		}
		if c.Webhook != "" && !isURL(c.Webhook) {
			bad("on_change.webhook", "%s: not a URL; give such as https://example.net/hook", shown(c.Webhook))
		}
		if c.Timeout == 0 {
			bad("on_change.timeout", "0s: want more than 0, such as 10s")
		}
	}
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// Protocols are those whose clients can be probes.
var Protocols = []string{"btest", "rperf", "iperf3", "twamp", "stamp"}

// Trips reports whether a protocol's tests are of packets that come back; the
// others fill the line.
func Trips(protocol string) bool { return protocol == "twamp" || protocol == "stamp" }

func (m Module) validate(bad complaint) { oneOf(bad, "protocol", m.Protocol, Protocols...) }

func (p Probe) validate(bad complaint) {
	switch {
	case p.Name == "":
		bad("name", "it is missing; give the probe a name")
	case !wantName.MatchString(p.Name):
		bad("name", "%s: not a name; give up to 63 letters, digits, - and _", shown(p.Name))
	}
	oneOf(bad, "protocol", p.Protocol, Protocols...)
	if p.Target == "" {
		bad("target", "it is missing; give HOST or HOST:PORT")
	}
	every, jitter := time.Duration(p.Every), time.Duration(p.Jitter)
	switch {
	case every < time.Second:
		bad("every", "%v: want 1s or more", every)
	case jitter >= every:
		bad("jitter", "%v: want less than the %v between two tests", jitter, every)
	}
	if time.Duration(p.Deadline) > every && every >= time.Second {
		bad("deadline", "%v: want at most the %v between two tests", time.Duration(p.Deadline), every)
	}
	if p.Packets < 0 {
		bad("packets", "%d: want 1 or more, or 0 for 100", p.Packets)
	}
	if slices.Contains(Protocols, p.Protocol) {
		p.validateKind(bad)
	}
	for _, text := range p.FailIf {
		if _, err := verdict.Parse(text); err != nil {
			bad("fail_if", "%s: %v", shown(text), err)
		}
	}
	if _, _, err := p.Series(); err != nil {
		bad("fail_runs", "%s: %v", shown(p.FailRuns), err)
	}
}

// validateKind finds keys that a test of the protocol cannot obey.
func (p Probe) validateKind(bad complaint) {
	for _, one := range []struct {
		key   string
		given bool
		trips bool
	}{
		{"packets", p.Packets > 0, true},
		{"duration", p.Duration > 0, false},
		{"bytes", p.Bytes > 0, false},
	} {
		if one.given && one.trips != Trips(p.Protocol) {
			bad(one.key, "not of a %s test; leave it out %s", p.Protocol, kindHint(p.Protocol))
		}
	}
	if !Trips(p.Protocol) && p.Duration > 0 && p.Deadline > 0 && p.Duration >= p.Deadline {
		bad("deadline", "%v: want more than the %v that the test lasts", time.Duration(p.Deadline), time.Duration(p.Duration))
	}
}

func kindHint(protocol string) string {
	if Trips(protocol) {
		return "and give packets"
	}
	return "and give duration or bytes"
}

// mostRuns bounds the runs that fail_runs looks at.
const mostRuns = 1000

// Series is fail_runs: m of the last n.
func (p Probe) Series() (m, n int, err error) {
	a, b, ok := strings.Cut(p.FailRuns, "/")
	first, err1 := unit.ParseCount(a)
	second, err2 := unit.ParseCount(b)
	if !ok || err1 != nil || err2 != nil || first < 1 || second < first || second > mostRuns {
		return 0, 0, errors.New("not M/N; give two numbers such as 3/5, the second one at most 1000")
	}
	return first, second, nil
}
