package sock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sonde-net/sonde/result"
)

// tcpInfo reads TCP_INFO, tcp(7). The kernel's struct grew over time: fields
// that this kernel does not fill are left out of the result as zero.
func tcpInfo(fd int) (result.TCPInfo, error) {
	k, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return result.TCPInfo{}, os.NewSyscallError("getsockopt", err)
	}
	micro := func(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }
	info := result.TCPInfo{
		RTT:           micro(uint64(k.Rtt)),
		RTTVar:        micro(uint64(k.Rttvar)),
		Cwnd:          uint64(k.Snd_cwnd) * uint64(k.Snd_mss),
		MSS:           uint64(k.Snd_mss),
		Retransmits:   uint64(k.Total_retrans),
		DeliveryRate:  8 * k.Delivery_rate,
		PacingRate:    rateOf(k.Pacing_rate),
		Busy:          micro(k.Busy_time),
		RwndLimited:   micro(k.Rwnd_limited),
		SndbufLimited: micro(k.Sndbuf_limited),
	}
	if k.Min_rtt != math.MaxUint32 { // the kernel's "not yet"
		info.MinRTT = micro(uint64(k.Min_rtt))
	}
	// The name is a nicety; the figures stand without it.
	if name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); err == nil {
		info.Congestion = name
	}
	return info, nil
}

// States of a TCP connection whose far end has closed: include/net/tcp_states.h.
const (
	tcpClose     = 7
	tcpCloseWait = 8
	tcpLastAck   = 9
	tcpClosing   = 11
)

// tcpClosed reports whether a FIN or RST has come.
func tcpClosed(fd int) (bool, error) {
	k, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false, os.NewSyscallError("getsockopt", err)
	}
	switch k.State {
	case tcpClose, tcpCloseWait, tcpLastAck, tcpClosing:
		return true, nil
	}
	return false, nil
}

// rateOf is bytes/s as bit/s; the kernel says "no limit" with all ones.
func rateOf(bytes uint64) uint64 {
	if bytes > math.MaxUint64/8 {
		return 0
	}
	return 8 * bytes
}

func setNotSentLowat(fd, n int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n))
}

// setPacingRate sets bytes/s: 8 bytes since Linux 4.20, 4 before. All ones is
// no limit.
func setPacingRate(fd int, bps uint64) error {
	rate := uint64(math.MaxUint64)
	if bps > 0 {
		rate = max(1, bps/8)
	}
	var wide [8]byte
	binary.NativeEndian.PutUint64(wide[:], rate)
	err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, unsafe.String(&wide[0], 8))
	if errors.Is(err, unix.EINVAL) {
		var narrow [4]byte
		binary.NativeEndian.PutUint32(narrow[:], uint32(min(rate, math.MaxUint32)))
		err = unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, unsafe.String(&narrow[0], 4))
	}
	return os.NewSyscallError("setsockopt", err)
}

func setUserTimeout(fd int, d time.Duration) error {
	ms := d.Milliseconds()
	if ms < 0 || ms > math.MaxInt32 {
		return fmt.Errorf("timeout of %v: want 0 to %v", d, math.MaxInt32*time.Millisecond)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(ms)))
}
