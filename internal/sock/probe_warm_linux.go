package sock

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel stamps nothing until somebody asks, and then begins a moment later:
// packets that come meanwhile have no stamp.
const (
	warmTries = 20
	warmPause = 500 * time.Microsecond
)

// awaitStamps waits until the kernel stamps what comes, which a socket has just
// asked for: it sends a datagram to itself over loopback until one is stamped.
// Without a loopback interface, or when it takes too long, it gives up; then the
// first packets have no stamp.
func awaitStamps() {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return
	}
	defer c.Close()
	err = onSocket(c, func(fd int) error {
		return setOption(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_RX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE)
	})
	if err != nil {
		return
	}
	self := AddrPort(c.LocalAddr())
	b, oob := make([]byte, 1), make([]byte, arrivalOOB)
	for range warmTries {
		if _, err := c.WriteToUDPAddrPort(b, self); err != nil || c.SetReadDeadline(time.Now().Add(time.Second)) != nil {
			return
		}
		_, n, _, _, err := c.ReadMsgUDPAddrPort(b, oob)
		if err != nil {
			return
		}
		var a Arrival
		eachControl(oob[:n], a.take)
		if !a.Stamp.IsZero() {
			return
		}
		time.Sleep(warmPause)
	}
}
