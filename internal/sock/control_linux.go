package sock

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Control messages, cmsg(3): what the kernel tells of a datagram that came, and is
// told of one that leaves.

// A kind is the level and type of a control message: cmsg(3).
type kind struct{ level, kind int32 }

// eachControl calls f with each control message in b.
func eachControl(b []byte, f func(k kind, data []byte)) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		if h.Len < unix.SizeofCmsghdr || uint64(h.Len) > uint64(len(b)) {
			return // cut short by the kernel: no more room
		}
		size := int(h.Len) - unix.CmsgLen(0)
		f(kind{h.Level, h.Type}, b[unix.CmsgLen(0):][:size])
		b = b[min(len(b), unix.CmsgSpace(size)):]
	}
}

// Control takes from oob what the kernel told of a datagram that came.
func (a *Arrival) Control(oob []byte) { eachControl(oob, a.take) }

// take reads one control message of a datagram that came.
func (a *Arrival) take(k kind, data []byte) {
	switch k {
	case kind{unix.SOL_SOCKET, unix.SCM_TIMESTAMPING}, kind{unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS}:
		a.Stamp = stampIn(data)
	case kind{unix.SOL_UDP, unix.UDP_GRO}:
		if s := number(data); s > 0 && s < a.Len {
			a.Segment = s
		}
	case kind{unix.IPPROTO_IP, unix.IP_TTL}, kind{unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT}:
		a.TTL = uint8(number(data))
	case kind{unix.IPPROTO_IP, unix.IP_TOS}:
		if len(data) > 0 {
			a.Class, a.Classed = data[0], true
		}
	case kind{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}:
		a.Class, a.Classed = uint8(number(data)), true
	case kind{unix.IPPROTO_IP, unix.IP_PKTINFO}:
		if len(data) >= unix.SizeofInet4Pktinfo {
			a.To = netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Addr)
		}
	case kind{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}:
		if len(data) >= unix.SizeofInet6Pktinfo && !a.To.IsValid() {
			a.To = netip.AddrFrom16([16]byte(data)).Unmap()
		}
	}
}

// number reads an int; -1 if there is none.
func number(data []byte) int {
	if len(data) < 4 {
		return -1
	}
	return int(int32(binary.NativeEndian.Uint32(data)))
}

// stampIn reads the first timespec, which is the software stamp; zero if there
// is none.
func stampIn(data []byte) time.Time {
	if len(data) < int(unsafe.Sizeof(unix.Timespec{})) {
		return time.Time{}
	}
	t := (*unix.Timespec)(unsafe.Pointer(&data[0]))
	if t.Sec == 0 && t.Nsec == 0 {
		return time.Time{}
	}
	return time.Unix(t.Unix())
}

// AppendControl appends what has the kernel send a datagram from one of our
// addresses, unless from is invalid, and with a traffic class. v6 is of the socket: of
// IPv6, or of both families. What the socket does anyway is not said: that costs a
// tenth of a send.
func AppendControl(oob []byte, to, from netip.Addr, class uint8, v6 bool) []byte {
	switch {
	case class == 0:
	case to.Unmap().Is4():
		oob = appendNumber(oob, unix.IPPROTO_IP, unix.IP_TOS, uint32(class))
	default:
		oob = appendNumber(oob, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, uint32(class))
	}
	if !from.IsValid() || from.IsMulticast() {
		return oob
	}
	return appendSource(oob, from, v6)
}

// appendSource names the address to send from.
func appendSource(oob []byte, from netip.Addr, v6 bool) []byte {
	if !v6 {
		a := from.Unmap().As4()
		oob = appendHeader(oob, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
		oob = append(oob, 0, 0, 0, 0)
		oob = append(oob, a[:]...) // ipi_spec_dst
		return pad(append(oob, 0, 0, 0, 0))
	}
	a := from.As16()
	oob = appendHeader(oob, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
	oob = append(oob, a[:]...)
	return pad(append(oob, 0, 0, 0, 0)) // any interface
}

// appendNumber appends a control message that is one int.
func appendNumber(oob []byte, level, kind int, n uint32) []byte {
	return pad(binary.NativeEndian.AppendUint32(appendHeader(oob, level, kind, 4), n))
}

// appendHeader appends the header of a control message with n bytes of data.
func appendHeader(oob []byte, level, kind, n int) []byte {
	if unix.SizeofPtr == 8 {
		oob = binary.NativeEndian.AppendUint64(oob, uint64(unix.CmsgLen(n)))
	} else {
		oob = binary.NativeEndian.AppendUint32(oob, uint32(unix.CmsgLen(n)))
	}
	oob = binary.NativeEndian.AppendUint32(oob, uint32(level))
	return binary.NativeEndian.AppendUint32(oob, uint32(kind))
}

// pad fills up to where the next control message begins.
func pad(oob []byte) []byte {
	for len(oob)%unix.SizeofPtr != 0 {
		oob = append(oob, 0)
	}
	return oob
}
