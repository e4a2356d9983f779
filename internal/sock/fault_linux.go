package sock

import (
	"sync/atomic"
	"syscall"
)

// Inject has f decide before each system call of c, a PacketConn or BulkConn,
// whether it fails and how; 0 lets it be made. It is for tests, before c is
// used. False: c makes no such calls.
func Inject(c any, f func(Call) syscall.Errno) bool {
	switch c := c.(type) {
	case *packetSocket:
		c.fault = f
	case *bulkSocket:
		c.fault = f
	default:
		return false
	}
	return true
}

// injected is the error that a test wants from the next call, or 0.
func (d *descriptor) injected(c Call) syscall.Errno {
	if d.fault == nil {
		return 0
	}
	return d.fault(c)
}

// refuse, if a test has set it, says which socket options fail.
var refuse atomic.Pointer[func(level, option int) error]

func refused(level, option int) error {
	if f := refuse.Load(); f != nil {
		return (*f)(level, option)
	}
	return nil
}
