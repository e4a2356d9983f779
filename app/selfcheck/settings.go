package selfcheck

// A Setting is a limit of the system that tests run into: docs/deploy.md gives
// the same advice in prose.
type Setting struct {
	Name string  `json:"name"` // such as "net.core.rmem_max"
	Have *string `json:"have"` // nil: it cannot be read here
	Want string  `json:"want"` // in words
	OK   *bool   `json:"ok"`   // nil: cannot tell
	Why  string  `json:"why"`  // what becomes of tests otherwise
	Do   string  `json:"do"`   // a command for root that makes it so, until the next start
}
