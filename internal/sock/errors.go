package sock

import (
	"errors"
	"slices"
	"syscall"
)

// IsLoss reports whether err, from sending or receiving a datagram, means only
// that a datagram was lost: a full queue, a port or host that does not answer, a
// firewall that dropped it. The test goes on.
func IsLoss(err error) bool {
	e, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(losses, e)
}

// IsTooBig reports whether err means that a datagram was larger than the path
// MTU or than a datagram can be. It is a finding about the path.
func IsTooBig(err error) bool {
	e, ok := errors.AsType[syscall.Errno](err)
	return ok && e == tooBig
}
