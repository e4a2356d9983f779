//go:build unix

package sock

import "syscall"

var (
	fulls  = []syscall.Errno{syscall.ENOBUFS, syscall.EAGAIN, syscall.ENOMEM}
	losses = append([]syscall.Errno{
		syscall.ECONNREFUSED, // the peer's ICMP answer to an earlier datagram
		syscall.EPERM,        // Linux: dropped by a local firewall rule
		syscall.EHOSTUNREACH,
		syscall.EHOSTDOWN,
		syscall.ENETUNREACH,
		syscall.ENETDOWN,
	}, fulls...)
)

const tooBig = syscall.EMSGSIZE
