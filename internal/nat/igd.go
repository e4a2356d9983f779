package nat

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/dcps/internetgateway2"
	"github.com/huin/goupnp/soap"
)

// What is taken from a router that answers to UPnP: it is a stranger like any
// other, and its answers are of any length and name any address.
const (
	ssdpPort        = 1900
	mostLocations   = 4       // descriptions of devices that are fetched
	mostSSDP        = 64      // datagrams that are looked at
	mostHTTP        = 1 << 18 // bytes of a description or an answer
	ssdpWait        = time.Second
	igdWait         = time.Second // for one HTTP exchange
	igdRemoveWithin = 2 * time.Second
	otherPortTries  = 3 // outside ports that are tried if ours is taken
)

// ssdpGroup is where devices are searched: UPnP Device Architecture, 1.3.
var ssdpGroup = netip.AddrFrom4([4]byte{239, 255, 255, 250})

// searched are the devices and services that are looked for: some routers
// answer to one, some to the other.
var searched = []string{
	"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
	"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
	internetgateway2.URN_WANIPConnection_2,
	internetgateway2.URN_WANIPConnection_1,
	internetgateway2.URN_WANPPPConnection_1,
}

// An igdService maps ports; internetgateway2 has three that do.
type igdService interface {
	AddPortMappingCtx(ctx context.Context, host string, external uint16, protocol string, internal uint16, client string, enabled bool, description string, lease uint32) error
	DeletePortMappingCtx(ctx context.Context, host string, external uint16, protocol string) error
	GetExternalIPAddressCtx(ctx context.Context) (string, error)
	GetSpecificPortMappingEntryCtx(ctx context.Context, host string, external uint16, protocol string) (internal uint16, client string, enabled bool, description string, lease uint32, err error)
}

// An igd asks by UPnP. goupnp has the descriptions and the SOAP; the search is
// ours, since its own reads without end and from all sockets of the host.
type igd struct {
	*questions
	local    netip.AddrPort
	http     http.Client
	services []igdService // in the order of preference
	service  igdService   // that has granted; nil if none
	outside  netip.Addr
	external uint16
	lease    uint32 // seconds; 0 is for ever
}

func newIGD(q *questions, local netip.AddrPort, dial func(context.Context, string, string) (net.Conn, error)) *igd {
	g := &igd{questions: q, local: local, lease: uint32(mappingLife / time.Second)}
	g.http = http.Client{
		Timeout: igdWait,
		Transport: &bounded{router: q.router, next: &http.Transport{
			DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 1 << 14, ResponseHeaderTimeout: igdWait,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return g
}

// A bounded transport talks to the router only, and reads so much only.
type bounded struct {
	router netip.Addr
	next   http.RoundTripper
}

func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := isOf(b.router, r.URL); err != nil {
		return nil, err
	}
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = limited{io.LimitReader(resp.Body, mostHTTP), resp.Body}
	}
	return resp, err
}

type limited struct {
	io.Reader
	io.Closer
}

// isOf says what is wrong with a URL that is to be of the router.
func isOf(router netip.Addr, u *url.URL) error {
	host, err := netip.ParseAddr(u.Hostname())
	if u.Scheme != "http" || err != nil || host.Unmap() != router {
		return fmt.Errorf("nat: the router %v names %.100q, which is not of its own", router, u.Redacted())
	}
	return nil
}

// find searches the router, fetches what it says of itself, and asks all
// services that it has for the outside address, at once.
func (g *igd) find(ctx context.Context) error {
	start := time.Now()
	locations, err := g.search(ctx)
	g.told(start, "search for a gateway (SSDP)", fmt.Sprintf("%d descriptions", len(locations)), err)
	if err != nil {
		return err
	}
	type answer struct {
		services []igdService
		err      error
	}
	answers := make([]answer, len(locations))
	var wg sync.WaitGroup
	for i, u := range locations {
		wg.Go(func() {
			start := time.Now()
			services, err := g.describe(ctx, u)
			answers[i] = answer{services, err}
			g.told(start, "GET "+u.String(), fmt.Sprintf("%d services that map ports", len(services)), err)
		})
	}
	wg.Wait()
	var faults []error
	var all []igdService
	for _, a := range answers {
		all = append(all, a.services...)
		faults = append(faults, a.err)
	}
	g.services = all
	if len(all) == 0 {
		return firstOf(errors.Join(faults...), fmt.Errorf("nat: the router %v has no UPnP service that maps ports", g.router))
	}
	return g.connected(ctx)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// search asks the router and the group for gateways until all that the router
// says is here. Some answer to the group only, and some not to it.
func (g *igd) search(ctx context.Context) ([]*url.URL, error) {
	start := time.Now()
	var found []*url.URL
	b := make([]byte, 2048)
	for _, until := range []time.Duration{400 * time.Millisecond, ssdpWait} {
		for _, target := range searched {
			for _, to := range []netip.Addr{g.router, ssdpGroup} {
				// What cannot be sent to one may be sent to the other.
				_, _ = g.conn.WriteTo(ssdpRequest(target), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, ssdpPort)))
			}
		}
		if err := g.readUntil(ctx, start.Add(until)); err != nil {
			return nil, err
		}
		for looked := 0; looked < mostSSDP && len(found) < mostLocations; {
			n, from, err := g.conn.ReadFrom(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("nat: search for a gateway: %w", err)
			}
			u, ok := from.(*net.UDPAddr)
			if !ok || u.AddrPort().Addr().Unmap() != g.router {
				continue
			}
			looked++
			at, err := parseSSDP(b[:n])
			if err != nil || isOf(g.router, at) != nil || slices.ContainsFunc(found, func(f *url.URL) bool { return *f == *at }) {
				continue
			}
			found = append(found, at)
			// The others of this router come at once, or never.
			g.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, fmt.Errorf("nat: %w to %s from the router %v", ErrNoAnswer, g.protocol, g.router)
}

// ssdpRequest is a search: UPnP Device Architecture, 1.3.2.
func ssdpRequest(target string) []byte {
	return []byte("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: " + target + "\r\n\r\n")
}

// parseSSDP reads where an answer says that the description is.
func parseSSDP(b []byte) (*url.URL, error) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return nil, fmt.Errorf("nat: SSDP answer: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("nat: SSDP answer with status %d", resp.StatusCode)
	}
	return resp.Location()
}

// describe fetches a description and returns the services in it that map ports,
// in the order of preference.
func (g *igd) describe(ctx context.Context, at *url.URL) ([]igdService, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("nat: description of the gateway: %w", err)
	}
	resp, err := g.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("nat: description of the gateway: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("nat: description of the gateway: HTTP status %d", resp.StatusCode)
	}
	root, err := parseDescription(resp.Body, at)
	if err != nil {
		return nil, err
	}
	var all []igdService
	// goupnp's error says only that there is none of the kind.
	two, _ := internetgateway2.NewWANIPConnection2ClientsFromRootDevice(root, at)
	for _, c := range two {
		all = g.add(all, c, c.SOAPClient)
	}
	one, _ := internetgateway2.NewWANIPConnection1ClientsFromRootDevice(root, at)
	for _, c := range one {
		all = g.add(all, c, c.SOAPClient)
	}
	ppp, _ := internetgateway2.NewWANPPPConnection1ClientsFromRootDevice(root, at)
	for _, c := range ppp {
		all = g.add(all, c, c.SOAPClient)
	}
	return all, nil
}

// parseDescription reads a description that was found at a URL.
func parseDescription(r io.Reader, at *url.URL) (*goupnp.RootDevice, error) {
	root := &goupnp.RootDevice{}
	d := xml.NewDecoder(r)
	d.DefaultSpace = goupnp.DeviceXMLNamespace
	if err := d.Decode(root); err != nil {
		return nil, fmt.Errorf("nat: description of the gateway: %w", err)
	}
	base := at
	if root.URLBaseStr != "" {
		u, err := url.Parse(root.URLBaseStr)
		if err != nil {
			return nil, fmt.Errorf("nat: description of the gateway: %w", err)
		}
		base = u
	}
	root.SetURLBase(base)
	return root, nil
}

// mostServices is how many services of a router are asked.
const mostServices = 4

// add adds a service that is the router's own.
func (g *igd) add(all []igdService, s igdService, c *soap.SOAPClient) []igdService {
	if len(all) == mostServices || isOf(g.router, &c.EndpointURL) != nil {
		return all
	}
	c.HTTPClient = g.http
	return append(all, s)
}

// connected keeps the services that know an outside address; the first gives it.
func (g *igd) connected(ctx context.Context) error {
	addresses := make([]netip.Addr, len(g.services))
	faults := make([]error, len(g.services))
	var wg sync.WaitGroup
	for i, s := range g.services {
		wg.Go(func() {
			start := time.Now()
			text, err := s.GetExternalIPAddressCtx(ctx)
			if err = upnpError(err); err == nil {
				addresses[i], err = netip.ParseAddr(text)
			}
			faults[i] = err
			g.told(start, "what is your outside address?", addresses[i].String(), err)
		})
	}
	wg.Wait()
	var kept []igdService
	for i, a := range addresses {
		if faults[i] == nil && a.IsValid() && !a.IsUnspecified() {
			if kept == nil {
				g.outside = a.Unmap()
			}
			kept = append(kept, g.services[i])
		}
	}
	g.services = kept
	if kept == nil {
		return firstOf(errors.Join(faults...), fmt.Errorf("nat: the router %v has no outside address", g.router))
	}
	return nil
}

// obtain maps the port that we have inside, or another if that is taken.
func (g *igd) obtain(ctx context.Context) (PortMapping, error) {
	if g.service != nil {
		if err := g.mapPort(ctx, g.service, g.external); err != nil {
			return PortMapping{}, err
		}
		return g.granted(), nil
	}
	var last error
	for _, s := range g.services {
		port := g.local.Port()
		for range otherPortTries {
			g.service, g.external = s, port // what may be there is removed
			err := g.mapPort(ctx, s, port)
			if err == nil {
				return g.granted(), nil
			}
			last = err
			if code := upnpCode(err); code != upnpConflict && code != upnpMechanisms || ctx.Err() != nil {
				break
			}
			port = uint16(32768 + rand.IntN(28000))
		}
		if ctx.Err() != nil {
			if upnpCode(last) != 0 || g.withdraw() == nil {
				g.service = nil // what is there is of somebody else, or gone
			}
			return PortMapping{}, context.Cause(ctx)
		}
		if upnpCode(last) == 0 {
			// It did not answer, or not in UPnP: it may have done what it was asked.
			last = errors.Join(last, g.withdraw())
		}
		g.service = nil
	}
	return PortMapping{}, last
}

// withdraw removes a mapping that was perhaps made, if it is ours.
func (g *igd) withdraw() error {
	ctx, stop := context.WithTimeout(context.Background(), igdWait)
	internal, client, _, _, _, err := g.service.GetSpecificPortMappingEntryCtx(ctx, "", g.external, "UDP")
	stop()
	if err != nil || internal != g.local.Port() || client != g.local.Addr().String() {
		return nil // there is none, or none of ours
	}
	return g.remove()
}

func (g *igd) granted() PortMapping {
	return PortMapping{Protocol: UPnP, External: netip.AddrPortFrom(g.outside, g.external), Lifetime: time.Duration(g.lease) * time.Second}
}

// The errors of WANIPConnection that something else may be tried after.
const (
	upnpInvalidArgs   = 402
	upnpActionFailed  = 501
	upnpNoSuchEntry   = 714
	upnpConflict      = 718 // with a mapping of somebody else
	upnpPermanentOnly = 725
	upnpMechanisms    = 729 // conflict with something else at the router
)

// mapPort asks one service for one outside port: with a lease first, and for ever
// if the router knows no leases. What was asked for is waited for although ctx has
// ended: the router might get to it after the mapping was removed.
func (g *igd) mapPort(ctx context.Context, s igdService, external uint16) error {
	for {
		start := time.Now()
		err := upnpError(s.AddPortMappingCtx(context.WithoutCancel(ctx), "", external, "UDP", g.local.Port(), g.local.Addr().String(), true, "sonde", g.lease))
		life := "until it is removed"
		if g.lease > 0 {
			life = "for " + strconv.Itoa(int(g.lease)) + " s"
		}
		g.told(start, fmt.Sprintf("map UDP port %d to %v %s", external, g.local, life), "granted", err)
		if code := upnpCode(err); g.lease > 0 && (code == upnpPermanentOnly || code == upnpInvalidArgs || code == upnpActionFailed) && ctx.Err() == nil {
			g.lease = 0
			continue
		}
		return err
	}
}

// remove takes the mapping away, if there may be one.
func (g *igd) remove() error {
	if g.service == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), igdRemoveWithin)
	defer stop()
	start := time.Now()
	err := upnpError(g.service.DeletePortMappingCtx(ctx, "", g.external, "UDP"))
	if upnpCode(err) == upnpNoSuchEntry {
		err = nil
	}
	g.told(start, "remove the mapping", "removed", err)
	if err == nil {
		return nil
	}
	until := fmt.Sprintf("it ends by itself within %v", mappingLife)
	if g.lease == 0 {
		until = "it stays until it is removed at the router"
	}
	return fmt.Errorf("nat: remove the mapping of port %d, %s: %w", g.external, until, err)
}

// A UPnPError is a refusal in the words of WANIPConnection:2, section 2.5.
type UPnPError struct {
	Code int
	Text string // as the router says; at most 100 bytes
}

func (e *UPnPError) Error() string {
	words := map[int]string{
		401: "the router does not know the action", upnpInvalidArgs: "invalid arguments", upnpActionFailed: "action failed",
		606: "not authorised", upnpNoSuchEntry: "no such mapping", 715: "wildcards not allowed", 716: "the outside port must be given",
		upnpConflict: "the port is mapped for somebody else", 724: "inside and outside port must be the same",
		upnpPermanentOnly: "only mappings without an end are supported", 728: "no mappings are left", upnpMechanisms: "the port is taken at the router",
	}
	text := words[e.Code]
	if text == "" {
		text = strconv.QuoteToASCII(e.Text)
	}
	return fmt.Sprintf("nat: the router refuses (UPnP error %d): %s", e.Code, text)
}

// upnpError takes the code out of an answer of SOAP.
func upnpError(err error) error {
	var fault *soap.SOAPFaultError
	if err == nil || !errors.As(err, &fault) {
		return short(err)
	}
	u := fault.Detail.UPnPError
	return &UPnPError{u.Errorcode, u.ErrorDescription[:min(len(u.ErrorDescription), 100)]}
}

// short bounds the text of an error: goupnp's may have the router's whole answer.
func short(err error) error {
	if err == nil || len(err.Error()) <= 300 {
		return err
	}
	return fmt.Errorf("%.200q…", err.Error())
}

// upnpCode is the code of a refusal, 0 of anything else.
func upnpCode(err error) int {
	var u *UPnPError
	if errors.As(err, &u) {
		return u.Code
	}
	return 0
}
