package directory

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/go-ldap/ldap/v3"

	"github.com/sonde-net/sonde/app/account"
)

// ErrLogin is a login that failed, whatever was wrong with it.
var ErrLogin = errors.New("wrong name or password")

// Login tells which role a user has in the dashboard, if the password is theirs:
// the directory is asked by a bind, and the password is kept nowhere. It fails
// with ErrLogin for a wrong password, an unknown or disabled user and one of no
// group, after the same exchanges of messages.
func (d *Directory) Login(ctx context.Context, name, password string) (role account.Role, err error) {
	if password == "" || account.CheckName(name) != nil {
		return "", ErrLogin // an empty password binds as nobody, RFC 4513 section 5.1.2
	}
	err = d.with(ctx, func(conn *ldap.Conn) error {
		e, err := d.find(conn, name, "memberOf", "userAccountControl")
		if err != nil {
			return err
		}
		known := e != nil
		if !known { // somebody who is not there
			e = ldap.NewEntry("cn="+rand.Text()+","+d.config.BaseDN, nil)
		}
		if role, err = d.roleOf(conn, e); err != nil {
			return err
		}
		switch err := conn.Bind(e.DN, password); {
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInappropriateAuthentication,
			ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultInsufficientAccessRights):
			return ErrLogin
		case err != nil:
			return err
		case !known || isDisabled(e) || role == "":
			return ErrLogin
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return role, nil
}

// roleOf is the role of an entry, "" for none. Both groups are always asked for.
func (d *Directory) roleOf(conn *ldap.Conn, e *ldap.Entry) (account.Role, error) {
	var role account.Role
	for _, one := range []struct {
		group string
		role  account.Role
	}{{d.config.Viewers, account.Viewer}, {d.config.Admins, account.Admin}} {
		if one.group == "" {
			continue
		}
		in, err := d.isMember(conn, e, one.group)
		if err != nil {
			return "", err
		}
		if in {
			role = one.role
		}
	}
	return role, nil
}
