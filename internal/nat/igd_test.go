package nat

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
)

// An igdRouter is a router that speaks UPnP, well or badly.
type igdRouter struct {
	services      []string // types of services it has
	permanent     bool     // knows no leases
	taken         []string // outside ports that are somebody else's
	refuse        int      // error code for every mapping
	mute          bool     // does, but does not answer
	location      string   // instead of its own
	control       string   // URL of the services, instead of its own
	base          string   // URLBase
	endless       bool     // descriptions and answers have no end
	flood         bool     // search answers have no end
	redirect      bool
	fromElsewhere bool // the search is answered by somebody else

	mu     sync.Mutex // guards what follows
	mapped map[string]string
	leases []string
	asked  map[string]int // actions
	stray  int            // connections that somebody else got
}

const description = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">%s
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device><serviceList>%s</serviceList></device></deviceList></device></root>`

func (g *igdRouter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.redirect {
		http.Redirect(w, r, "http://192.168.1.9/", http.StatusFound)
		return
	}
	if r.Method == http.MethodGet {
		var all strings.Builder
		control := g.control
		if control == "" {
			control = "/ctl"
		}
		for _, s := range g.services {
			fmt.Fprintf(&all, "<service><serviceType>urn:schemas-upnp-org:service:%s</serviceType><serviceId>x</serviceId><controlURL>%s</controlURL><eventSubURL>/e</eventSubURL><SCPDURL>/s</SCPDURL></service>", s, control)
		}
		if g.endless {
			io.WriteString(w, "<root>")
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("<device><deviceType>x</deviceType>", 1000)); err != nil {
					return
				}
			}
		}
		fmt.Fprintf(w, description, g.base, all.String())
		return
	}
	body, _ := io.ReadAll(r.Body)
	g.mu.Lock()
	defer g.mu.Unlock()
	_, action, _ := strings.Cut(strings.Trim(r.Header.Get("SOAPACTION"), `"`), "#")
	g.asked[action]++
	value := func(name string) string {
		m := regexp.MustCompile("<" + name + ">([^<]*)</").FindStringSubmatch(string(body))
		if m == nil {
			return ""
		}
		return m[1]
	}
	external := value("NewExternalPort")
	code, out := 0, ""
	switch action {
	case "GetExternalIPAddress":
		out = "<NewExternalIPAddress>203.0.113.7</NewExternalIPAddress>"
	case "AddPortMapping":
		switch {
		case g.refuse != 0:
			code = g.refuse
		case g.permanent && value("NewLeaseDuration") != "0":
			code = 725
		default:
			for _, t := range g.taken {
				if t == external {
					code = 718
				}
			}
		}
		if code == 0 {
			g.mapped[external] = value("NewInternalClient") + ":" + value("NewInternalPort")
			g.leases = append(g.leases, value("NewLeaseDuration"))
		}
		if g.mute {
			g.mu.Unlock() // a mutex that is waited for would stop the clock
			time.Sleep(5 * time.Second)
			g.mu.Lock()
		}
	case "GetSpecificPortMappingEntry":
		client, port, ok := strings.Cut(g.mapped[external], ":")
		if !ok {
			code = 714
		}
		out = "<NewInternalPort>" + port + "</NewInternalPort><NewInternalClient>" + client + "</NewInternalClient><NewEnabled>1</NewEnabled><NewPortMappingDescription>x</NewPortMappingDescription><NewLeaseDuration>1</NewLeaseDuration>"
	case "DeletePortMapping":
		if g.mapped[external] == "" {
			code = 714
		}
		delete(g.mapped, external)
	default:
		code = 401
	}
	if code != 0 {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>%d</errorCode><errorDescription>%s</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>`, code, strings.Repeat("x", 5000))
		return
	}
	fmt.Fprintf(w, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:%sResponse xmlns:u="urn:x">%s</u:%sResponse></s:Body></s:Envelope>`, action, out, action)
}

// answerSSDP answers searches on c until it is closed.
func (g *igdRouter) answerSSDP(c, elsewhere net.PacketConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		target := regexp.MustCompile("ST: (.*)\r\n").FindStringSubmatch(string(b[:n]))[1]
		location := g.location
		if location == "" {
			location = "http://192.168.1.1:5000/rootDesc.xml"
		}
		answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nST: %s\r\nUSN: x\r\nLOCATION: %s\r\n\r\n", target, location)
		out := c
		if g.fromElsewhere {
			out = elsewhere
		}
		out.WriteTo(answer, from)
		for i := 0; g.flood && i < 500; i++ {
			out.WriteTo(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nST: x\r\nLOCATION: http://192.168.1.1:5000/%d\r\n\r\n", i), from)
		}
	}
}

func (g *igdRouter) ports() (mapped map[string]string, leases []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.mapped), slices.Clone(g.leases)
}

// TestUPnP: a router that speaks UPnP alone maps a port, well or badly; what is
// mapped is gone afterwards, and nobody but the router is asked anything.
func TestUPnP(t *testing.T) {
	const one, two, ppp = "WANIPConnection:1", "WANIPConnection:2", "WANPPPConnection:1"
	for _, tt := range []struct {
		name    string
		gateway *igdRouter
		lease   time.Duration
		fault   string // when no mapping is granted
		other   bool   // another outside port than ours
	}{
		{"IGD 2", &igdRouter{services: []string{two}}, mappingLife, "", false},
		{"IGD 1", &igdRouter{services: []string{one}}, mappingLife, "", false},
		{"PPP", &igdRouter{services: []string{ppp}}, mappingLife, "", false},
		{"all of them", &igdRouter{services: []string{ppp, one, two}}, mappingLife, "", false},
		{"no leases", &igdRouter{services: []string{one}, permanent: true}, 0, "", false},
		{"port taken", &igdRouter{services: []string{one}, taken: []string{"5000"}}, mappingLife, "", true},
		{"refused", &igdRouter{services: []string{one}, refuse: 606}, 0, "not authorised", false},
		{"no such service", &igdRouter{services: []string{"Layer3Forwarding:1"}}, 0, "no UPnP service", false},
		{"mute", &igdRouter{services: []string{one}, mute: true}, 0, "timeout", false},
		{"location elsewhere", &igdRouter{services: []string{one}, location: "http://192.168.1.9/desc.xml"}, 0, "no answer", false},
		{"location of another scheme", &igdRouter{services: []string{one}, location: "file:///etc/passwd"}, 0, "no answer", false},
		{"control elsewhere", &igdRouter{services: []string{one}, control: "http://192.168.1.9/ctl"}, 0, "no UPnP service", false},
		{"base elsewhere", &igdRouter{services: []string{one}, base: "<URLBase>http://192.168.1.9/</URLBase>"}, 0, "no UPnP service", false},
		{"redirected elsewhere", &igdRouter{services: []string{one}, redirect: true}, 0, "status 302", false},
		{"endless description", &igdRouter{services: []string{one}, endless: true}, 0, "description", false},
		{"endless search", &igdRouter{services: []string{one}, flood: true}, mappingLife, "", false},
		{"answered by a stranger", &igdRouter{services: []string{one}, fromElsewhere: true}, 0, "no answer", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := tt.gateway
				g.mapped, g.asked = map[string]string{}, map[string]int{}
				host, stop := g.start(t)
				defer stop()
				var dialogue []Step
				var mu sync.Mutex
				m := &Mapper{
					Router: netip.MustParseAddr("192.168.1.1"), Local: netip.MustParseAddrPort("192.168.1.2:5000"),
					ListenPacket: host.ListenPacket, Dial: host.DialContext,
					Trace: func(s Step) { mu.Lock(); dialogue = append(dialogue, s); mu.Unlock() },
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				granted := make(chan PortMapping, 9)
				done := make(chan error, 1)
				start := time.Now()
				go func() { done <- m.Run(ctx, func(p PortMapping) { granted <- p }) }()
				if tt.fault != "" {
					err := <-done
					if err == nil || !strings.Contains(err.Error(), tt.fault) || time.Since(start) > 8*time.Second || len(err.Error()) > 1000 {
						t.Errorf("after %v: %v", time.Since(start), err)
					}
				} else {
					p := <-granted
					if p.Protocol != UPnP || p.External.Addr() != netip.MustParseAddr("203.0.113.7") || p.Lifetime != tt.lease || (p.External.Port() != 5000) != tt.other {
						t.Errorf("%+v", p)
					}
					time.Sleep(5 * time.Minute)
					if ports, leases := g.ports(); !slices.Equal(slices.Collect(maps.Values(ports)), []string{"192.168.1.2:5000"}) || len(leases) < 4 {
						t.Errorf("after 5 minutes: %v, leases %v", ports, leases)
					}
					cancel()
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
				time.Sleep(10 * time.Second) // what the router is still at comes to its end
				if ports, _ := g.ports(); len(ports) != 0 {
					t.Errorf("left at the router: %v", ports)
				}
				g.mu.Lock()
				defer g.mu.Unlock()
				if g.stray != 0 {
					t.Errorf("%d connections to somebody who is not the router", g.stray)
				}
				if len(dialogue) == 0 {
					t.Error("nothing is told of the dialogue")
				}
			})
		})
	}
}

// start puts the gateway, a stranger and us onto a network.
func (g *igdRouter) start(t *testing.T) (us *testnet.Host, stop func()) {
	var network testnet.Network
	router := network.Host(testnet.Link{}, testnet.Link{}, "192.168.1.1")
	stranger := network.Host(testnet.Link{}, testnet.Link{}, "192.168.1.9")
	us = network.Host(testnet.Link{}, testnet.Link{}, "192.168.1.2")
	ssdp, err := router.ListenPacket(t.Context(), "udp", ":1900")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := stranger.ListenPacket(t.Context(), "udp", ":1900")
	if err != nil {
		t.Fatal(err)
	}
	l, err := router.Listen(t.Context(), "tcp", ":5000")
	if err != nil {
		t.Fatal(err)
	}
	trap, err := stranger.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: g}
	go server.Serve(l)
	go g.answerSSDP(ssdp, elsewhere)
	go func() {
		for {
			c, err := trap.Accept()
			if err != nil {
				return
			}
			g.mu.Lock()
			g.stray++
			g.mu.Unlock()
			c.Close()
		}
	}()
	return us, func() {
		server.Close()
		ssdp.Close()
		elsewhere.Close()
		trap.Close()
	}
}

// Descriptions and search answers of any bytes do no harm, and what is read of
// them is a URL.
func FuzzUPnP(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nST: x\r\nLOCATION: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n"))
	f.Add(fmt.Appendf(nil, description, "<URLBase>http://192.168.1.1/</URLBase>", "<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>ctl</controlURL></service>"))
	at, _ := url.Parse("http://192.168.1.1:5000/rootDesc.xml")
	router := netip.MustParseAddr("192.168.1.1")
	f.Fuzz(func(t *testing.T, b []byte) {
		if u, err := parseSSDP(b); err == nil && isOf(router, u) == nil && u.Hostname() != "192.168.1.1" {
			t.Fatalf("%v is taken for the router's", u)
		}
		parseDescription(strings.NewReader(string(b)), at)
	})
}
