package web_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

// An authority is a stand-in for one that speaks ACME (RFC 8555): one order at a
// time, one name in it, and the proof by TLS-ALPN (RFC 8737), which it really
// asks for at a given address.
type authority struct {
	*testing.T
	server *httptest.Server
	root   *x509.Certificate
	key    *ecdsa.PrivateKey
	dials  string // where the domain is

	mu     sync.Mutex // guards what follows
	thumb  string     // of the account's key
	domain string
	proven bool
	issued []byte // PEM
	orders int
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{T: t}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stand-in"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.server = httptest.NewTLSServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.server.Close)
	return a
}

// payload is what a signed request holds, and notes whose key it is. The
// signature is not looked at: there is one client.
func (a *authority) payload(r *http.Request) []byte {
	var jws struct{ Protected, Payload string }
	if err := json.NewDecoder(r.Body).Decode(&jws); err != nil {
		a.Errorf("%s: %v", r.URL.Path, err)
	}
	head, err := base64.RawURLEncoding.DecodeString(jws.Protected)
	if err != nil {
		a.Error(err)
	}
	var protected struct {
		JWK *struct{ Crv, Kty, X, Y string }
		URL string
	}
	if err := json.Unmarshal(head, &protected); err != nil || protected.URL != a.server.URL+r.URL.Path {
		a.Errorf("signed for %q: %v", protected.URL, err)
	}
	if k := protected.JWK; k != nil { // RFC 7638
		sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, k.Crv, k.Kty, k.X, k.Y))
		a.thumb = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	body, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil {
		a.Error(err)
	}
	return body
}

// token of the one challenge.
const token = "dG9rZW4tb2YtdGhlLWNoYWxsZW5nZQ"

func (a *authority) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Replay-Nonce", rand.Text())
	url := func(path string) string { return a.server.URL + path }
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	var body []byte
	if r.Method == http.MethodPost {
		body = a.payload(r)
	}
	status := map[bool]string{false: "pending", true: "ready"}[a.proven]
	if a.issued != nil {
		status = "valid"
	}
	order := map[string]any{
		"status": status, "identifiers": []any{map[string]string{"type": "dns", "value": a.domain}},
		"authorizations": []string{url("/authorization")}, "finalize": url("/finalize"), "certificate": url("/certificate"),
	}
	challenge := map[string]any{"type": "tls-alpn-01", "url": url("/challenge"), "token": token, "status": map[bool]string{false: "pending", true: "valid"}[a.proven]}
	switch r.URL.Path {
	case "/":
		answer(200, map[string]any{"newNonce": url("/nonce"), "newAccount": url("/account"), "newOrder": url("/order"), "revokeCert": url("/revoke"), "keyChange": url("/change")})
	case "/nonce":
	case "/account":
		w.Header().Set("Location", url("/account/1"))
		answer(201, map[string]any{"status": "valid"})
	case "/order":
		var o struct{ Identifiers []struct{ Value string } }
		if err := json.Unmarshal(body, &o); err != nil || len(o.Identifiers) != 1 {
			a.Errorf("an order of %s", body)
		}
		a.domain, a.proven, a.issued = o.Identifiers[0].Value, false, nil
		a.orders++
		order["identifiers"], order["status"] = []any{map[string]string{"type": "dns", "value": a.domain}}, "pending"
		w.Header().Set("Location", url("/order/1"))
		answer(201, order)
	case "/order/1":
		w.Header().Set("Location", url("/order/1"))
		answer(200, order)
	case "/authorization":
		answer(200, map[string]any{"status": challenge["status"], "identifier": map[string]string{"type": "dns", "value": a.domain}, "challenges": []any{challenge}})
	case "/challenge":
		a.proven = a.prove()
		answer(200, challenge)
	case "/finalize":
		var f struct{ CSR string }
		if err := json.Unmarshal(body, &f); err != nil || !a.proven {
			a.Errorf("finalized, proven %v: %v", a.proven, err)
		}
		a.issue(f.CSR)
		order["status"] = "valid"
		w.Header().Set("Location", url("/order/1"))
		answer(200, order)
	case "/certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		w.Write(a.issued)
	default:
		a.Errorf("asked for %s", r.URL.Path)
	}
}

// acmeIdentifier is the extension of RFC 8737, section 3.
var acmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// prove asks the domain for the proof.
func (a *authority) prove() bool {
	conn, err := tls.Dial("tcp", a.dials, &tls.Config{ServerName: a.domain, NextProtos: []string{acme.ALPNProto}, InsecureSkipVerify: true})
	if err != nil {
		a.Errorf("the proof: %v", err)
		return false
	}
	defer conn.Close()
	sum := sha256.Sum256([]byte(token + "." + a.thumb))
	want, err := asn1.Marshal(sum[:])
	if err != nil {
		a.Error(err)
	}
	for _, e := range conn.ConnectionState().PeerCertificates[0].Extensions {
		if e.Id.Equal(acmeIdentifier) {
			return string(e.Value) == string(want) && conn.ConnectionState().NegotiatedProtocol == acme.ALPNProto
		}
	}
	a.Error("the proof has no identifier")
	return false
}

func (a *authority) issue(csr string) {
	der, err := base64.RawURLEncoding.DecodeString(csr)
	if err != nil {
		a.Error(err)
		return
	}
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		a.Error(err)
		return
	}
	a.issued = a.sign(r.PublicKey, r.DNSNames...)
}

// sign makes a certificate in PEM.
func (a *authority) sign(key crypto.PublicKey, names ...string) []byte {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(60 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, key, a.key)
	if err != nil {
		a.Error(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// pool has the authority's root.
func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.root)
	return p
}
