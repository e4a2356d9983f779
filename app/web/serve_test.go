package web_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/web"
)

// serving runs a server on a loopback port until the test ends.
func serving(t *testing.T, s *web.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %v", r.Proto) })

// client asks a server of a name at an address.
func client(address string, c *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}}}
}

func fetch(c *http.Client, url string) (string, error) {
	r, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// TestACME gets a certificate from an authority, keeps it, and takes no other
// names.
func TestACME(t *testing.T) {
	a := newAuthority(t)
	folder := filepath.Join(t.TempDir(), "acme")
	config, err := web.ACME{Domains: []string{"sonde.example"}, Folder: folder, Directory: a.server.URL + "/", Email: "ann@example.net", Client: a.server.Client()}.TLS()
	if err != nil {
		t.Fatal(err)
	}
	a.dials = serving(t, &web.Server{Handler: hello, TLS: config})
	c := client(a.dials, &tls.Config{RootCAs: a.pool()})
	for range 2 {
		if text, err := fetch(c, "https://sonde.example/"); err != nil || text != "hello HTTP/2.0" {
			t.Fatalf("%q, %v", text, err)
		}
	}
	if _, err := fetch(c, "https://other.example/"); err == nil {
		t.Error("a name that is not ours is served")
	}
	// The next server finds what this one kept.
	again, err := web.ACME{Domains: []string{"sonde.example"}, Folder: folder, Directory: a.server.URL + "/", Client: a.server.Client()}.TLS()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := fetch(client(serving(t, &web.Server{Handler: hello, TLS: again}), &tls.Config{RootCAs: a.pool()}), "https://sonde.example/"); err != nil {
		t.Errorf("again: %q, %v", text, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.orders != 1 {
		t.Errorf("%d orders", a.orders)
	}
	if _, err := (web.ACME{}).TLS(); err == nil {
		t.Error("nothing to get a certificate for, and no error")
	}
}

// TestFileTLS serves with a certificate from files.
func TestFileTLS(t *testing.T) {
	a := newAuthority(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	if _, err := web.FileTLS(cert, keyFile); err == nil || !strings.Contains(err.Error(), cert) {
		t.Errorf("files that are not there: %v", err)
	}
	for name, b := range map[string][]byte{cert: a.sign(key.Public(), "sonde.example"), keyFile: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config, err := web.FileTLS(cert, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	at := serving(t, &web.Server{Handler: hello, TLS: config})
	if text, err := fetch(client(at, &tls.Config{RootCAs: a.pool()}), "https://sonde.example/"); err != nil || text != "hello HTTP/2.0" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := fetch(client(at, &tls.Config{RootCAs: a.pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}), "https://sonde.example/"); err == nil {
		t.Error("TLS 1.1 is served")
	}
}

// TestBounds: connections have a bound, and so has a header.
func TestBounds(t *testing.T) {
	at := serving(t, &web.Server{Handler: hello, Connections: 2})
	var open []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	third, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if b, _ := io.ReadAll(third); len(b) > 0 {
		t.Errorf("one too many is served: %s", b)
	}
	open[0].Close()
	for late := time.Now().Add(time.Minute); ; {
		text, err := fetch(client(at, nil), "http://a/")
		if err == nil && text == "hello HTTP/1.1" {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("a place that is free is not given: %v", err)
		}
	}
	open[1].Close()
	r, err := http.NewRequest("GET", "http://a/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	a, err := client(at, nil).Do(r)
	if err == nil {
		a.Body.Close()
		if a.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a header of 64 KiB: %d", a.StatusCode)
		}
	}
}
