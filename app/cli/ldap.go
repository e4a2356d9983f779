//go:build !nano

package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/app/directory"
)

// directoryOf is the directory of a configuration, nil for none.
func directoryOf(l *config.Loaded) (*directory.Directory, error) {
	c := l.LDAP
	if c == nil {
		return nil, nil
	}
	d := directory.Config{URL: c.URL, Plain: c.Plain, BaseDN: c.BaseDN, BindDN: c.BindDN, Filter: c.Filter,
		Users: c.Users, Admins: c.Admins, Viewers: c.Viewers, Quotas: map[account.Window]string{}, Timeout: time.Duration(c.Timeout), Keep: time.Duration(c.Keep)}
	for name, attribute := range c.Quota {
		if w, ok := config.QuotaWindow(name); ok {
			d.Quotas[w] = attribute
		}
	}
	if c.BindPasswordFile != "" {
		var err error
		if d.BindPassword, err = readSecret(c.BindPasswordFile); err != nil {
			return nil, l.Fault("ldap.bind_password_file", "%s", err)
		}
	}
	if c.CAFile != "" {
		roots, err := readRoots(c.CAFile)
		if err != nil {
			return nil, l.Fault("ldap.ca_file", "%s", err)
		}
		d.TLS = &tls.Config{RootCAs: roots}
	}
	made, err := directory.New(d)
	if err != nil {
		return nil, l.Fault("ldap", "%s", err)
	}
	return made, nil
}

// readRoots reads authorities in PEM.
func readRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it", file)
	}
	return roots, nil
}

// checkLDAP finds what is wrong with a directory's settings and files.
func checkLDAP(l *config.Loaded) error {
	if l.Store.DSN == "" {
		return nil // said already
	}
	_, err := directoryOf(l)
	return err
}
