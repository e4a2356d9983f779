package config

import (
	"net/url"

	"github.com/sonde-net/sonde/app/unit"
)

// LDAP is a directory of who may test.
type LDAP struct {
	URL              string            `config:"url" help:"ldaps://HOST[:PORT], or ldap://HOST with StartTLS"`
	Plain            bool              `config:"plain" default:"false" help:"no TLS: names and passwords cross the network in clear"`
	CAFile           string            `config:"ca_file" help:"FILE of the authorities that vouch for the server, in PEM; without one the system's"`
	BaseDN           string            `config:"base_dn" help:"where users are looked for, with all that is below, such as dc=example,dc=com"`
	BindDN           string            `config:"bind_dn" help:"of the account that searches; without one nobody's"`
	BindPasswordFile string            `config:"bind_password_file" help:"FILE whose first line is its password"`
	Filter           string            `config:"filter" help:"finds the entry of a user, with {name} where the name stands; without one a person whose uid, sAMAccountName or cn it is"`
	Users            string            `config:"users" help:"DN of the group whose members may test; without one everybody who is found"`
	Admins           string            `config:"admins" help:"DN of the group that may sign in to the pages and change users"`
	Viewers          string            `config:"viewers" help:"DN of the group that may sign in and look"`
	Quota            map[string]string `config:"quota" help:"attributes that hold quotas, by daily, weekly and monthly, with _in or _out for one way; an attribute that is not there leaves it to the store"`
	Timeout          unit.Duration     `config:"timeout" default:"5s" help:"how long each step may take"`
	Keep             unit.Duration     `config:"keep" default:"1m0s" help:"how long an answer about a user is good for"`
}

// validate finds what a file alone shows; the rest is where the directory is made.
func (c *LDAP) validate(bad complaint, store bool) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "ldap" && u.Scheme != "ldaps" {
		bad("url", "%s: not the address of a directory; give such as ldaps://dc.example.com", shown(c.URL))
	}
	if c.BaseDN == "" {
		bad("base_dn", "it is missing; give such as dc=example,dc=com")
	}
	if c.BindDN != "" && c.BindPasswordFile == "" {
		bad("bind_password_file", "it is missing, and without a password nobody would search; give FILE, or leave bind_dn out")
	}
	for name := range c.Quota {
		if _, ok := QuotaWindow(name); !ok {
			bad("quota."+name, "unknown quota %s", suggestion(name, QuotaNames()))
		}
	}
	if c.Timeout == 0 {
		bad("timeout", "0s: want more than 0, such as 5s")
	}
	if !store {
		bad("", "a directory says who may test, but what proves it is in a store; give store.dsn")
	}
}
