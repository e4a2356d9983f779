package sock

import (
	"encoding/binary"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

type probesOut struct {
	vector
	to []netip.AddrPort // whom names is for
}

// departureOOB holds all control messages of a datagram to send: class, source,
// segment size and the wish for a stamp.
const departureOOB = 128

// Write sends ds in order and returns how many the kernel took: on an error,
// that of the next one, the rest was not sent. A full send buffer is waited for.
func (p *ProbeSocket) Write(ds []Departure) (n int, err error) {
	d := p.socket.descriptor
	d.out.mu.Lock()
	defer d.out.mu.Unlock()
	if err := d.check(&d.out); err != nil {
		return 0, err
	}
	for n < len(ds) {
		if ds[n].Segment > 0 && !p.cuts {
			if err := p.cut(&ds[n]); err != nil {
				return n, err
			}
			n++
			continue
		}
		took, e := p.some(ds[n:])
		n += took
		switch {
		case e == 0:
		case n < len(ds) && ds[n].Segment > 0 && cannotCut(e):
			p.cuts = false
		case n < len(ds) && ds[n].Segment > 0 && e == unix.EMSGSIZE:
			// Segments beyond the path's MTU leave as fragments, one by one.
			if err := p.cut(&ds[n]); err != nil {
				return n, err
			}
			n++
		default:
			return n, os.NewSyscallError("sendmmsg", e)
		}
	}
	return n, nil
}

// cannotCut reports whether e says that the kernel or the device cannot cut a
// train.
func cannotCut(e unix.Errno) bool {
	return e == unix.EINVAL || e == unix.EIO || e == unix.ENOPROTOOPT || e == unix.EOPNOTSUPP
}

// cut sends a train datagram by datagram.
func (p *ProbeSocket) cut(train *Departure) error {
	one := [1]Departure{*train}
	one[0].Segment = 0
	for rest := train.Data; len(rest) > 0; {
		size := min(train.Segment, len(rest))
		one[0].Data = rest[:size]
		if _, e := p.some(one[:]); e != 0 {
			return os.NewSyscallError("sendmmsg", e)
		}
		rest = rest[size:]
	}
	return nil
}

// some sends the first of ds, up to the first train if trains have to be cut.
func (p *ProbeSocket) some(ds []Departure) (int, unix.Errno) {
	v := &p.out
	ds = ds[:min(len(ds), mostProbes)]
	if v.grow(len(ds), departureOOB); len(v.to) < len(v.hdrs) {
		v.to = make([]netip.AddrPort, len(v.hdrs))
	}
	for i := range ds {
		if ds[i].Segment > 0 && !p.cuts {
			ds = ds[:i]
			break
		}
		if !p.load(i, &ds[i]) {
			if i == 0 {
				return 0, unix.EAFNOSUPPORT
			}
			ds = ds[:i]
			break
		}
	}
	for i := range ds {
		if ds[i].Ready != nil {
			ds[i].Ready()
		}
	}
	for waited := false; ; waited = true {
		n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(p.socket.fd), uintptr(unsafe.Pointer(&v.hdrs[0])), uintptr(len(ds)), 0, 0, 0)
		switch {
		case e == 0:
			return int(n), 0
		case e == unix.EINTR:
		case e == unix.EAGAIN && !waited:
			if p.socket.wait(&p.socket.out) != nil {
				return 0, e
			}
		default:
			return 0, e
		}
	}
}

// load prepares message i; false if there is no way to its address.
func (p *ProbeSocket) load(i int, d *Departure) bool {
	v := &p.out
	h := &v.hdrs[i].hdr
	if v.to[i] != d.To {
		n, err := v.names[i].put(d.To, p.socket.v6)
		if err != nil {
			return false
		}
		h.Namelen, v.to[i] = uint32(n), d.To
	}
	v.iov[i].Base = unsafe.SliceData(d.Data)
	v.iov[i].SetLen(len(d.Data))
	oob := v.oob[i*v.room:][:0:v.room]
	from := d.From
	if from == p.socket.local.Addr() {
		from = netip.Addr{}
	}
	oob = AppendControl(oob, d.To.Addr(), from, d.Class, p.socket.v6)
	if d.Segment > 0 {
		oob = appendHeader(oob, unix.SOL_UDP, unix.UDP_SEGMENT, 2)
		oob = pad(binary.NativeEndian.AppendUint16(oob, uint16(d.Segment)))
	} else if d.Stamp && p.stamps == AllStamps {
		p.queue.asked.Store(true)
		oob = appendNumber(oob, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_TX_SOFTWARE)
	}
	h.SetControllen(len(oob))
	return true
}
