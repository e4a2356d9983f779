//go:build !linux

package testnet

import "testing"

// NeedNamespaces skips the test where network namespaces cannot be made, and
// says why.
func NeedNamespaces(t testing.TB) {
	t.Helper()
	t.Skip("needs network namespaces, which only Linux has")
}
