//go:build !linux

package sock

import "net"

// bulkTCP is nil: TCP moves by plain calls here.
func bulkTCP(*net.TCPConn) (BulkConn, error) { return nil, nil }
