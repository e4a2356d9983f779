//go:build !nano

package report

import "crypto/tls"

// secure connects with TLS 1.2 or later (RFC 9662) to a receiver whose
// certificate is of one of the system's authorities and has its name.
var secure Dialer = (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext
