package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/wire"
)

// readUsers reads a file of users: NAME:PASSWORD on a line each, empty lines
// and lines that begin with # are left out. All faults are told at once.
func readUsers(path string, emptyPasswords bool) (btest.List, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fileError(flagValue("users", path), "a line NAME:PASSWORD for each user", err)
	}
	defer file.Close()
	if err := checkPrivate("users", file); err != nil {
		return nil, err
	}
	list := btest.List{}
	first := map[string]int{} // the line of each name
	var faults []error
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, longestLine)
	n := 0
	for lines.Scan() {
		n++
		line := strings.TrimRight(lines.Text(), "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, password, ok := strings.Cut(line, ":")
		if fault := userFault(name, password, ok, emptyPasswords); fault != "" {
			faults = append(faults, fmt.Errorf("%s:%d: %s", path, n, fault))
			continue
		}
		if at, twice := first[name]; twice {
			faults = append(faults, fmt.Errorf("%s:%d: user %q is there already, on line %d; leave one out", path, n, name, at))
			continue
		}
		first[name] = n
		list[name] = btest.Secret{Password: password}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		faults = append(faults, fmt.Errorf("%s:%d: longer than %d bytes; want NAME:PASSWORD", path, n+1, longestLine))
	case err != nil:
		return nil, fileError(flagValue("users", path), "", err)
	}
	switch {
	case len(faults) > 0:
		return nil, misuse("", "%w", errors.Join(faults...))
	case len(list) == 0:
		return nil, misuse("", "%s: no user in it, and without one everybody could test; write a line NAME:PASSWORD for each", flagValue("users", path))
	}
	return list, nil
}

// userFault is what is wrong with a line, or "".
func userFault(name, password string, colon, emptyPasswords bool) string {
	switch {
	case !colon || name == "":
		return "want NAME:PASSWORD"
	case password == "" && !emptyPasswords:
		return fmt.Sprintf("user %q has no password; give one, or allow that with --allow-empty-password", name)
	case len(name) > wire.MaxSRPName:
		return fmt.Sprintf("the name has %d bytes; want at most %d", len(name), wire.MaxSRPName)
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		return fmt.Sprintf("the name %q is not UTF-8 text; want NAME:PASSWORD", name)
	}
	return ""
}
