package account

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lengths of names, in bytes.
const (
	LongestName = 64
	// LongestMD5Name is what an MD5 login of btest carries.
	LongestMD5Name = 32
)

// CheckName tells what is wrong with a name. A name is printed text, so that no
// log, page or terminal takes it for anything else; quotes, brackets and signs
// are allowed, and everybody who shows a name escapes it.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %q is not UTF-8 text", name)
	case len(name) > LongestName:
		return fmt.Errorf("the name has %d bytes; want at most %d", len(name), LongestName)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("the name %q begins or ends with a space", name)
	case name == "*":
		return errors.New("the name * is any name in a file of users; choose another")
	}
	for _, r := range name {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return fmt.Errorf("the name %q holds %U, which is not shown", name, r)
		}
	}
	return nil
}

// A Role is what a login of the dashboard, or a token of its API, may do.
type Role string

// Every Role may see what those before it may.
const (
	Viewer Role = "viewer" // sees every address and user
	Admin  Role = "admin"  // changes them, and stops tests
)

// CheckRole tells what is wrong with a role.
func CheckRole(r Role) error {
	if r != Viewer && r != Admin {
		return fmt.Errorf("no role is called %q; want %s or %s", r, Viewer, Admin)
	}
	return nil
}
