//go:build !linux

package sock

import "syscall"

// Inject is false: only the fast path of Linux can be made to fail.
func Inject(any, func(Call) syscall.Errno) bool { return false }
