package cli

import (
	"os"
	"slices"
	"strings"
	"unsafe"
)

// commandLine is os.Args as the kernel gave it: on Linux its strings lie in the
// memory that other users see as this process's command line.
var commandLine = slices.Clone(os.Args)

// blankPassword overwrites the argument that holds a password and returns a
// copy of the password. Only the word after -p, --password or --authpass, or
// after their "=", is touched: another argument may happen to be equal.
func blankPassword(secret string) string {
	kept := strings.Clone(secret)
	for n := 1; n < len(commandLine) && kept != ""; n++ {
		arg := commandLine[n]
		at := len(arg) - len(kept)
		if at < 0 || arg[at:] != kept {
			continue
		}
		switch flag := arg[:at]; {
		case flag == "" && isPasswordFlag(commandLine[n-1]), strings.TrimSuffix(flag, "=") != "" && isPasswordFlag(strings.TrimSuffix(flag, "=")):
			overwrite(arg, at)
		}
	}
	return kept
}

// isPasswordFlag reports whether word is a flag whose value is a password; the
// short one may end a group, as in -tup.
func isPasswordFlag(word string) bool {
	if long, ok := strings.CutPrefix(word, "--"); ok {
		return long == "password" || long == "authpass"
	}
	return strings.HasPrefix(word, "-") && strings.HasSuffix(word, "p")
}

func overwrite(arg string, from int) {
	b := unsafe.Slice(unsafe.StringData(arg), len(arg))
	for i := from; i < len(b); i++ {
		b[i] = '*'
	}
}
