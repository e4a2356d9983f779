package directory

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/hashicorp/go-hclog"
	"github.com/jimlambrt/gldap"
)

// An entry is one of the directory under test.
type entry struct {
	dn         string
	password   string
	attributes map[string][]string
}

// A world is an LDAP server in this process.
type world struct {
	addr  string
	roots *x509.CertPool

	mu      sync.Mutex // guards what follows
	entries []entry
	filters []string // asked for
	binds   []string // DNs
	mute    bool     // answers no search
}

// people is a directory of the usual shape.
func people() []entry {
	person := func(dn string, more map[string][]string) map[string][]string {
		all := map[string][]string{"objectClass": {"top", "person"}}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	return []entry{
		{"cn=reader,dc=example,dc=com", "reads", map[string][]string{"objectClass": {"account"}}},
		{"uid=ann,ou=staff,dc=example,dc=com", "secret", person("", map[string][]string{"uid": {"ann"}, "dailyQuota": {"50M"}, "memberOf": {"CN=Testers, DC=example,DC=com", "cn=admins,dc=example,dc=com"}})},
		{"uid=bob,ou=staff,dc=example,dc=com", "hunter2", person("", map[string][]string{"uid": {"bob"}, "userAccountControl": {"514"}, "memberOf": {"cn=testers,dc=example,dc=com", "cn=admins,dc=example,dc=com"}})},
		{"cn=Carl\\, Jr.,ou=staff,dc=example,dc=com", "carl's", person("", map[string][]string{"sAMAccountName": {"carl"}})},
		{"uid=dora,ou=staff,dc=example,dc=com", "d", person("", map[string][]string{"uid": {"dora"}})},
		{"uid=eve,ou=staff,dc=example,dc=com", "e", person("", map[string][]string{"uid": {"eve"}, "dailyQuota": {"lots"}, "memberOf": {"cn=testers,dc=example,dc=com"}})},
		{"uid=twin,ou=a,dc=example,dc=com", "t", person("", map[string][]string{"uid": {"twin"}})},
		{"uid=twin,ou=b,dc=example,dc=com", "t", person("", map[string][]string{"cn": {"twin"}})},
		{"cn=testers,dc=example,dc=com", "", map[string][]string{"objectClass": {"groupOfNames"}, "member": {"cn=Carl\\, Jr.,ou=staff,dc=example,dc=com"}}},
		{"cn=viewers,dc=example,dc=com", "", map[string][]string{"objectClass": {"groupOfNames"}, "uniqueMember": {"cn=Carl\\, Jr.,ou=staff,dc=example,dc=com"}}},
	}
}

// serve starts a server: LDAPS, or plain with StartTLS.
func serve(t *testing.T, ldaps bool) *world {
	t.Helper()
	w := &world{entries: people()}
	server, err := gldap.NewServer(gldap.WithLogger(hclog.NewNullLogger()))
	if err != nil {
		t.Fatal(err)
	}
	cert, roots := certificate(t)
	w.roots = roots
	secure := &tls.Config{Certificates: []tls.Certificate{cert}}
	mux, err := gldap.NewMux()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		mux.Bind(w.bind), mux.Search(w.search),
		mux.ExtendedOperation(func(rw *gldap.ResponseWriter, r *gldap.Request) {
			res := r.NewExtendedResponse(gldap.WithResponseCode(gldap.ResultSuccess))
			res.SetResponseName(gldap.ExtendedOperationStartTLS)
			rw.Write(res)
			r.StartTLS(secure)
		}, gldap.ExtendedOperationStartTLS),
		server.Router(mux),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	l.Close()
	ended := make(chan error, 1)
	go func() {
		if ldaps {
			ended <- server.Run(w.addr, gldap.WithTLSConfig(secure))
			return
		}
		ended <- server.Run(w.addr)
	}()
	for !server.Ready() {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	t.Cleanup(func() {
		w.mu.Lock()
		w.mute = false
		w.mu.Unlock()
		server.Stop()
		<-ended
	})
	return w
}

// certificate is one for 127.0.0.1, and who trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "directory"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func (w *world) bind(rw *gldap.ResponseWriter, r *gldap.Request) {
	res := r.NewBindResponse(gldap.WithResponseCode(gldap.ResultInvalidCredentials))
	defer func() { rw.Write(res) }()
	m, err := r.GetSimpleBindMessage()
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.binds = append(w.binds, m.UserName)
	if m.Password == "" { // as many servers do
		res.SetResultCode(gldap.ResultSuccess)
	}
	for _, e := range w.entries {
		if e.dn == m.UserName && e.password != "" && e.password == string(m.Password) {
			res.SetResultCode(gldap.ResultSuccess)
		}
	}
}

func (w *world) search(rw *gldap.ResponseWriter, r *gldap.Request) {
	res := r.NewSearchDoneResponse()
	res.SetResultCode(gldap.ResultSuccess)
	m, err := r.GetSearchMessage()
	if err != nil {
		res.SetResultCode(gldap.ResultOperationsError)
		rw.Write(res)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mute {
		return
	}
	w.filters = append(w.filters, m.Filter)
	filter, err := ldap.CompileFilter(m.Filter)
	if err != nil {
		res.SetResultCode(gldap.ResultOperationsError)
		rw.Write(res)
		return
	}
	var n int64
	for _, e := range w.entries {
		inside := strings.HasSuffix(strings.ToLower(e.dn), strings.ToLower(m.BaseDN))
		if m.Scope == gldap.BaseObject {
			inside = strings.EqualFold(e.dn, m.BaseDN)
		}
		if !inside || !matches(filter, e) {
			continue
		}
		if n++; m.SizeLimit > 0 && n > m.SizeLimit {
			res.SetResultCode(gldap.ResultSizeLimitExceeded)
			break
		}
		rw.Write(r.NewSearchResponseEntry(e.dn, gldap.WithAttributes(e.attributes)))
	}
	rw.Write(res)
}

// matches evaluates a filter of and, or and equality (RFC 4511, section 4.5.1.7).
func matches(f *ber.Packet, e entry) bool {
	switch f.Tag {
	case ldap.FilterAnd:
		for _, one := range f.Children {
			if !matches(one, e) {
				return false
			}
		}
		return true
	case ldap.FilterOr:
		for _, one := range f.Children {
			if matches(one, e) {
				return true
			}
		}
	case ldap.FilterPresent:
		return true
	case ldap.FilterEqualityMatch:
		name, value := f.Children[0].Value.(string), f.Children[1].Value.(string)
		for k, values := range e.attributes {
			for _, v := range values {
				if strings.EqualFold(k, name) && strings.EqualFold(v, value) {
					return true
				}
			}
		}
	}
	return false
}
