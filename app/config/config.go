// Package config reads the one configuration file of sonde: YAML, under the
// environment and the flags, over the defaults. Whatever is wrong is told at
// once, with file, line and key, and nothing starts half.
//
// The types below are the file: a field's tags are its key, its default and its
// meaning, and docs/config.md is made of them. A section that is a pointer is
// one that is off until the file has it. What a server's keys mean is decided
// where its flags are, which have the same names.
package config

import (
	"github.com/sonde-net/sonde/app/unit"
)

// A Config is the file.
type Config struct {
	Server  Servers           `config:"server" help:"what clients can test against; a section that is there, be it empty, starts that server"`
	Store   Store             `config:"store" help:"where users, use and results are kept; without a DSN nowhere"`
	Limits  Limits            `config:"limits" help:"what all servers together allow; bytes need a store"`
	LDAP    *LDAP             `config:"ldap" help:"a directory that says who may test, with which quotas, and who may sign in to the pages"`
	Web     *Web              `config:"web" help:"pages, JSON API, metrics and health over HTTP"`
	Modules map[string]Module `config:"modules" help:"what /probe?target=HOST&module=NAME can run"`
	Probes  []Probe           `config:"probes" help:"tests on a schedule"`
	Outputs Outputs           `config:"outputs" help:"where results go"`
	Log     Log               `config:"log" help:"what is logged, and how"`
	Control Control           `config:"control" help:"how sonde reload and sonde health reach this one"`
}

// Servers are the servers, off unless they are there.
type Servers struct {
	Drain  unit.Duration `config:"drain" default:"0s" help:"at SIGTERM running tests may go on for so long before they are ended; new ones are not taken"`
	Btest  *Btest        `config:"btest" help:"the MikroTik bandwidth test, for RouterOS; TCP port 2000"`
	Rperf  *Rperf        `config:"rperf" help:"rperf's throughput test; TCP port 5199"`
	Iperf3 *Iperf3       `config:"iperf3" help:"iperf3's throughput test; port 5201, TCP and UDP"`
	Twamp  *Twamp        `config:"twamp" help:"the reflector of TWAMP, TWAMP Light and STAMP; port 862, TCP and UDP"`
	Mesh   *Mesh         `config:"mesh" help:"the rendezvous server of ptptest; UDP port 23456"`
}

// Btest is the server of the MikroTik bandwidth test; its keys are the flags of
// sonde btest server.
type Btest struct {
	Listen                   []string      `config:"listen" default:":2000" help:"ADDR, ADDR:PORT or :PORT to listen on"`
	Bind                     string        `config:"bind" help:"source of everything sent: ADDR, ADDR%IFACE or %IFACE"`
	User                     string        `config:"user" help:"NAME to log in with"`
	PasswordFile             string        `config:"password_file" help:"FILE whose first line is that user's password"`
	Users                    string        `config:"users" help:"FILE of users, a line NAME:PASSWORD each"`
	AllowEmptyPassword       bool          `config:"allow_empty_password" default:"false" help:"serve users whose password is empty"`
	Auth                     []string      `config:"auth" help:"methods of login: none, or md5, ecsrp5, or both (both with users, none without)"`
	UDPPorts                 string        `config:"udp_ports" default:"2001-2100" help:"UDP ports to announce, FIRST-LAST"`
	MaxTests                 unit.Count    `config:"max_tests" default:"100" help:"tests at once; 0 no limit"`
	MaxTestsPerAddress       unit.Count    `config:"max_tests_per_address" default:"10" help:"tests at once from one address; 0 no limit"`
	MaxConnections           unit.Count    `config:"max_connections" default:"4096" help:"connections at once; 0 no limit"`
	MaxConnectionsPerAddress unit.Count    `config:"max_connections_per_address" default:"512" help:"connections at once from one address; 0 no limit"`
	MaxLogins                unit.Count    `config:"max_logins" default:"1024" help:"logins in progress at once; 0 no limit"`
	MaxLoginsPerAddress      unit.Count    `config:"max_logins_per_address" default:"8" help:"logins in progress at once from one address; 0 no limit"`
	MaxDuration              unit.Duration `config:"max_duration" default:"0s" help:"longest test; 0 no limit"`
	MaxRate                  unit.Rate     `config:"max_rate" default:"unlimited" help:"highest rate each way of one test, bit/s"`
	Interval                 unit.Duration `config:"interval" default:"1s" help:"time between results"`
}

// Rperf is rperf's server; its keys are the flags of sonde rperf server.
type Rperf struct {
	Listen                   []string      `config:"listen" default:":5199" help:"ADDR, ADDR:PORT or :PORT to listen on"`
	Bind                     string        `config:"bind" help:"source of everything sent: ADDR, ADDR%IFACE or %IFACE"`
	TCPPortPool              []string      `config:"tcp_port_pool" help:"ports to receive streams on over TCP and IPv4; without a list any"`
	TCP6PortPool             []string      `config:"tcp6_port_pool" help:"the same over IPv6"`
	UDPPortPool              []string      `config:"udp_port_pool" help:"ports to receive streams on over UDP and IPv4"`
	UDP6PortPool             []string      `config:"udp6_port_pool" help:"the same over IPv6"`
	Affinity                 []string      `config:"affinity" help:"run streams on these CPUs in turn, such as [0, 2]"`
	ClientLimit              unit.Count    `config:"client_limit" default:"0" help:"tests at once, the others are closed, as rperf does; 0 for the queue of max_tests"`
	MaxTests                 unit.Count    `config:"max_tests" default:"100" help:"tests at once, the others wait in a queue; 0 no limit"`
	MaxTestsPerAddress       unit.Count    `config:"max_tests_per_address" default:"10" help:"tests at once from one address; 0 no limit"`
	MaxConnections           unit.Count    `config:"max_connections" default:"4096" help:"connections at once; 0 no limit"`
	MaxConnectionsPerAddress unit.Count    `config:"max_connections_per_address" default:"512" help:"connections at once from one address; 0 no limit"`
	MaxDuration              unit.Duration `config:"max_duration" default:"0s" help:"longest test; 0 no limit"`
	MaxRate                  unit.Rate     `config:"max_rate" default:"unlimited" help:"highest rate of one test, bit/s"`
	Interval                 unit.Duration `config:"interval" default:"1s" help:"time between results"`
}

// Iperf3 is iperf3's server; its keys are the flags of sonde iperf3 server.
type Iperf3 struct {
	Listen                   []string      `config:"listen" default:":5201" help:"ADDR, ADDR:PORT or :PORT to listen on, TCP and UDP"`
	Bind                     string        `config:"bind" help:"source of everything sent: ADDR, ADDR%IFACE or %IFACE"`
	OneAtATime               bool          `config:"one_at_a_time" default:"false" help:"tell further clients that the server is busy, as iperf3 does"`
	RSAPrivateKeyPath        string        `config:"rsa_private_key_path" help:"FILE with the private RSA key for logins, in PEM"`
	AuthorizedUsersPath      string        `config:"authorized_users_path" help:"FILE of users, a line NAME,HASH each, the hash SHA-256 of {NAME}PASSWORD"`
	TimeSkewThreshold        unit.Count    `config:"time_skew_threshold" default:"0" help:"seconds that a client's clock may be off at a login; 0 is 10"`
	MaxTests                 unit.Count    `config:"max_tests" default:"100" help:"tests at once; 0 no limit"`
	MaxTestsPerAddress       unit.Count    `config:"max_tests_per_address" default:"10" help:"tests at once from one address; 0 no limit"`
	MaxConnections           unit.Count    `config:"max_connections" default:"4096" help:"connections at once; 0 no limit"`
	MaxConnectionsPerAddress unit.Count    `config:"max_connections_per_address" default:"512" help:"connections at once from one address; 0 no limit"`
	MaxDuration              unit.Duration `config:"max_duration" default:"0s" help:"longest test; 0 no limit"`
	MaxRate                  unit.Rate     `config:"max_rate" default:"unlimited" help:"highest rate of one test, bit/s"`
	Interval                 unit.Duration `config:"interval" default:"1s" help:"time between results"`
}

// Twamp is the reflector; its keys are the flags of sonde twamp server.
type Twamp struct {
	Listen                   []string      `config:"listen" default:":862" help:"ADDR, ADDR:PORT or :PORT to listen on, TCP and UDP"`
	Bind                     string        `config:"bind" help:"source of everything sent: ADDR, ADDR%IFACE or %IFACE"`
	Modes                    []string      `config:"modes" help:"modes to offer: unauthenticated, authenticated, encrypted, mixed (unauthenticated, with keys all)"`
	KeyFile                  string        `config:"key_file" help:"FILE of keys, mode 0600, a line KEYID PASSPHRASE or KEYID hex:OCTETS for each"`
	Rounds                   unit.Count    `config:"rounds" default:"0" help:"rounds of PBKDF2 that a login costs, a power of two from 1024 on; 0 is 2048"`
	TestPorts                string        `config:"test_ports" default:"19000-19999" help:"UDP ports of sessions, FIRST-LAST, where the one that a client proposes is not free"`
	ControlDSCP              string        `config:"control_dscp" default:"0" help:"mark control connections with this DSCP, 0 to 63 or a name"`
	ReflectDuplicates        bool          `config:"reflect_duplicates" default:"false" help:"reflect packets that come twice in sessions with keys, too; they may be replays"`
	NoLight                  bool          `config:"no_light" default:"false" help:"reflect nothing but sessions of control connections"`
	Allow                    []string      `config:"allow" help:"answer only these addresses, such as 192.0.2.0/24 (everybody without)"`
	Trust                    []string      `config:"trust" help:"addresses that may get more octets than they sent; others could be forged"`
	Stateless                bool          `config:"stateless" default:"false" help:"keep no count: replies carry the number of the request, and loss has no direction"`
	PTP                      bool          `config:"ptp" default:"false" help:"timestamps in the PTP format"`
	StampEach                bool          `config:"stamp_each" default:"false" help:"a receive timestamp of its own for each packet of a train; normally one serves all, which is many times as fast"`
	CorrectSendTime          bool          `config:"correct_send_time" default:"false" help:"write into replies when they will leave, as learnt from earlier ones; exact while idle, a guess under load"`
	MaxPPSPerAddress         unit.Count    `config:"max_pps_per_address" default:"20000" help:"packets per second answered to one address without a session; 0 no limit"`
	MaxSources               unit.Count    `config:"max_sources" default:"65536" help:"senders without a session to remember"`
	MaxConnections           unit.Count    `config:"max_connections" default:"4096" help:"control connections at once; 0 no limit"`
	MaxConnectionsPerAddress unit.Count    `config:"max_connections_per_address" default:"512" help:"control connections at once from one address; 0 no limit"`
	MaxSessions              unit.Count    `config:"max_sessions" default:"16384" help:"sessions at once; 0 no limit"`
	MaxSessionsPerConnection unit.Count    `config:"max_sessions_per_connection" default:"256" help:"sessions at once of one connection; 0 no limit"`
	MaxPPS                   unit.Count    `config:"max_pps" default:"0" help:"packets per second of one session; 0 no limit"`
	MaxLogins                unit.Count    `config:"max_logins" default:"32" help:"set-ups with a key in progress at once; 0 no limit"`
	MaxDuration              unit.Duration `config:"max_duration" default:"0s" help:"longest session; 0 no limit"`
	SetupTimeout             unit.Duration `config:"setup_timeout" default:"10s" help:"a client has so long to set the connection up"`
	Servwait                 unit.Duration `config:"servwait" default:"15m0s" help:"a connection without commands ends after this (RFC 5357, SERVWAIT)"`
	Refwait                  unit.Duration `config:"refwait" default:"15m0s" help:"a session without packets ends after this (RFC 5357, REFWAIT)"`
	MaxTimeout               unit.Duration `config:"max_timeout" default:"1m0s" help:"a client may ask for so much reflecting after its stop"`
}

// Mesh is the rendezvous server of ptptest.
type Mesh struct {
	Listen        []string   `config:"listen" default:":23456" help:"ADDR:PORT or :PORT of UDP; with two ports nodes can tell how their router maps them"`
	Name          string     `config:"name" help:"shown to nodes; at most 63 bytes"`
	MaxClients    unit.Count `config:"max_clients" default:"4096" help:"clients at once"`
	MaxPerAddress unit.Count `config:"max_clients_per_address" default:"64" help:"clients at once from one address"`
	Relay         bool       `config:"relay" default:"false" help:"carry small test packets between nodes that cannot reach each other"`
	RelayRate     unit.Rate  `config:"relay_rate" default:"10M" help:"bit/s that are relayed in all"`
	RelayBytes    unit.Size  `config:"relay_bytes" default:"0" help:"bytes that are relayed in all until the server stops; 0 no limit"`
}

// Web is what is served over HTTP.
type Web struct {
	Listen          string        `config:"listen" default:"127.0.0.1:8080" help:"ADDR:PORT to listen on; loopback unless told otherwise"`
	Pages           bool          `config:"pages" default:"true" help:"serve pages and the JSON API"`
	Name            string        `config:"name" help:"host under which clients reach the servers, for the pages; without one what the browser asked for"`
	PublicDashboard bool          `config:"public_dashboard" default:"false" help:"whoever comes sees the tests of every address, without user names; otherwise only those of their own"`
	TrustedProxies  []string      `config:"trusted_proxies" help:"addresses and networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto hold"`
	TLSCert         string        `config:"tls_cert" help:"FILE with a certificate and what it stands on, PEM; read again when it changes"`
	TLSKey          string        `config:"tls_key" help:"FILE with its private key, PEM"`
	ACMEDomains     []string      `config:"acme_domains" help:"get certificates for these names from an authority, which looks for us at their port 443"`
	ACMEFolder      string        `config:"acme_folder" help:"folder to keep those certificates in"`
	ACMEEmail       string        `config:"acme_email" help:"where the authority may write to"`
	ACMEDirectory   string        `config:"acme_directory" help:"URL of the authority; without one Let's Encrypt"`
	MaxConnections  unit.Count    `config:"max_connections" default:"1024" help:"connections at once"`
	Metrics         bool          `config:"metrics" default:"true" help:"serve /metrics and /probe to Prometheus, to whoever asks"`
	ProbeTargets    []string      `config:"probe_targets" help:"hosts, addresses and networks that /probe may test; without a list none"`
	ProbeDeadline   unit.Duration `config:"probe_deadline" default:"10s" help:"longest /probe where the scrape does not say how long it waits"`
	MaxProbes       unit.Count    `config:"max_probes" default:"16" help:"probes of /probe at once; one of them at most is a throughput test"`
}

// Log is what is logged.
type Log struct {
	Level  string `config:"level" default:"info" help:"from which level on: debug, info, warn or error"`
	Format string `config:"format" default:"auto" help:"text, json, journal, or auto: the journal where it reads our standard error, else text"`
}

// Control is the local API.
type Control struct {
	Socket string `config:"socket" default:"auto" help:"the Unix socket; auto is sonde.sock in $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR or /run/sonde; none is none"`
}

// Outputs are where results go besides the metrics.
type Outputs struct {
	Syslog *Syslog `config:"syslog" help:"logins, starts and ends of tests to a syslog collector"`
	File   *File   `config:"file" help:"every result as a line of JSON"`
	OTLP   *OTLP   `config:"otlp" help:"metrics to an OpenTelemetry collector"`
	Change *Change `config:"on_change" help:"what is told when a probe's state changes"`
}

// Syslog is a collector.
type Syslog struct {
	Address string `config:"address" help:"HOST:PORT by UDP, or udp://, tcp:// or tls://HOST:PORT"`
	Format  string `config:"format" default:"rfc5424" help:"rfc3164 or rfc5424"`
	Tag     string `config:"tag" default:"sonde" help:"the program's name in its lines"`
	UTC     bool   `config:"utc" default:"false" help:"times in UTC instead of local time"`
}

// A File has a line of JSON for each event.
type File struct {
	Path      string     `config:"path" help:"the file; older ones are PATH.1, PATH.2 and so on"`
	MaxSize   unit.Size  `config:"max_size" default:"100MB" help:"a file that is longer is put aside"`
	Keep      unit.Count `config:"keep" default:"5" help:"files put aside that are kept"`
	Intervals bool       `config:"intervals" default:"false" help:"intervals, too, not only begins, notes and ends"`
}

// OTLP is an OpenTelemetry collector.
type OTLP struct {
	Endpoint string        `config:"endpoint" help:"URL of a collector, such as http://collector:4318"`
	Every    unit.Duration `config:"every" default:"1m0s" help:"time between two reports"`
}

// Change says what is told of a probe whose state changes.
type Change struct {
	Webhook string        `config:"webhook" help:"URL that gets a POST with JSON"`
	Command []string      `config:"command" help:"program and arguments; it gets the JSON on standard input, and SONDE_PROBE, SONDE_STATE and SONDE_BEFORE"`
	Timeout unit.Duration `config:"timeout" default:"10s" help:"neither may take longer"`
}
