package mesh

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLabel is the longest name of a file that is taken, bytes.
const maxLabel = 200

// checkLabel reports why a name that a peer gave cannot be that of a file in a
// folder, on any system: a peer may run another one.
func checkLabel(name string) error {
	base, _, _ := strings.Cut(name, ".")
	switch {
	case name == "":
		return fmt.Errorf("the name is empty")
	case len(name) > maxLabel:
		return fmt.Errorf("the name has %d bytes, at most %d are taken", len(name), maxLabel)
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %q is not UTF-8", name)
	case strings.ContainsAny(name, `/\:`):
		return fmt.Errorf("the name %q is a path", name)
	case strings.ContainsAny(name, `<>"|?*`):
		return fmt.Errorf("the name %q has a character that not all systems take", name)
	case strings.ContainsFunc(name, isHidden):
		return fmt.Errorf("the name %q has a character that cannot be seen", name)
	case name[0] == '.':
		return fmt.Errorf("the name %q begins with a dot", name)
	case strings.TrimRight(name, ". ") != name || name[0] == ' ':
		return fmt.Errorf("the name %q begins or ends with a space or a dot", name)
	case isDevice(strings.ToUpper(strings.TrimRight(base, " "))):
		return fmt.Errorf("the name %q is that of a device", name)
	}
	return nil
}

// isHidden is true for what does not show, or makes a name show as another.
func isHidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError
}

// isDevice knows the names that Windows takes for devices in every folder
// (Microsoft, "Naming Files, Paths, and Namespaces").
func isDevice(base string) bool {
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	rest, ok := strings.CutPrefix(base, "COM")
	if !ok {
		rest, ok = strings.CutPrefix(base, "LPT")
	}
	return ok && strings.Contains("0123456789¹²³", rest) && utf8.RuneCountInString(rest) == 1
}
