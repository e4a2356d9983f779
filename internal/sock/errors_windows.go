package sock

import (
	"syscall"

	"golang.org/x/sys/windows"
)

var (
	fulls  = []syscall.Errno{windows.WSAENOBUFS, windows.WSAEWOULDBLOCK}
	losses = append([]syscall.Errno{
		windows.WSAECONNRESET, // what Windows makes of ICMP port unreachable
		windows.WSAECONNREFUSED,
		windows.WSAENETRESET, // TTL expired on the way
		windows.WSAEHOSTUNREACH,
		windows.WSAENETUNREACH,
	}, fulls...)
)

const tooBig = windows.WSAEMSGSIZE
