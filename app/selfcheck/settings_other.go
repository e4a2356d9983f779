//go:build !linux

package selfcheck

// Settings are the limits that are looked at: none on this system.
func Settings() []Setting { return nil }
