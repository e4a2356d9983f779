package web

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// A pair is a certificate in files, read again when they change: whoever renews
// it has not to tell us.
type pair struct {
	cert, key string

	mu      sync.Mutex // guards what follows
	now     *tls.Certificate
	looked  time.Time
	changed time.Time
}

// lookEvery is how often the files are looked at.
const lookEvery = 10 * time.Second

// FileTLS serves with the certificate and the key of two PEM files.
func FileTLS(cert, key string) (*tls.Config, error) {
	p := &pair{cert: cert, key: key}
	if _, err := p.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: p.get}, nil
}

// get is the certificate of now. New files that are no good leave the old one.
func (p *pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil && time.Since(p.looked) < lookEvery {
		return p.now, nil
	}
	p.looked = time.Now()
	info, err := os.Stat(p.cert)
	if err == nil && p.now != nil && info.ModTime().Equal(p.changed) {
		return p.now, nil
	}
	if err == nil {
		var c tls.Certificate
		if c, err = tls.LoadX509KeyPair(p.cert, p.key); err == nil {
			p.now, p.changed = &c, info.ModTime()
		}
	}
	if p.now != nil {
		return p.now, nil
	}
	return nil, fmt.Errorf("the certificate %s with the key %s: %w", p.cert, p.key, err)
}

// An ACME is how certificates are had from an authority (RFC 8555), which looks
// for us at port 443 of each domain (RFC 8737).
type ACME struct {
	Domains   []string
	Folder    string // where keys and certificates are kept
	Email     string // the authority may write to it; may be empty
	Directory string // of the authority; empty is Let's Encrypt
	Client    *http.Client
}

// TLS gets certificates when they are first asked for, and renews them.
func (a ACME) TLS() (*tls.Config, error) {
	if len(a.Domains) == 0 || a.Folder == "" {
		return nil, errors.New("ACME needs a domain and a folder to keep certificates in")
	}
	if err := os.MkdirAll(a.Folder, 0o700); err != nil {
		return nil, err
	}
	m := &autocert.Manager{
		Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(a.Domains...), Cache: autocert.DirCache(a.Folder), Email: a.Email,
		Client: &acme.Client{DirectoryURL: a.Directory, HTTPClient: a.Client, UserAgent: "sonde"},
	}
	if a.Directory == "" {
		m.Client.DirectoryURL = autocert.DefaultACMEDirectory
	}
	c := m.TLSConfig()
	c.MinVersion = tls.VersionTLS12
	return c, nil
}
