//go:build nano

package report

// secure is not there in the small build.
var secure Dialer
