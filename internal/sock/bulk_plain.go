package sock

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/result"
)

// Sizes of plain calls. A write should be large, to cost little, but be over
// soon, so that what has to go between two writes need not wait long.
const (
	smallWrite = 16 << 10
	largeWrite = 1 << 20
	smallRead  = 4 << 10 // until there is more: a connection may be idle for long
	largeRead  = 1 << 20
	quickWrite = 2 * time.Millisecond
	slowWrite  = 20 * time.Millisecond

	mostVectors = 64 // blocks in one call
)

// plainBulk is the portable BulkConn: Write and Read of a net.Conn.
type plainBulk struct {
	conn net.Conn
	tcp  *net.TCPConn // conn, if it is one

	drain *drain // nil where the system has none

	// The writer's.
	most   int // bytes for one call, by how long the last ones took
	vector [][]byte
	vec    net.Buffers

	sink []byte // the reader's, for Discard
}

func newPlainBulk(c net.Conn) *plainBulk {
	b := &plainBulk{conn: c, most: 64 << 10}
	if tcp, ok := c.(*net.TCPConn); ok {
		b.tcp, b.drain = tcp, newDrain(tcp)
	}
	return b
}

func (b *plainBulk) WriteBlocks(block []byte, total int) (int, error) {
	if len(block) == 0 || total <= 0 {
		return 0, nil
	}
	want := min(total, b.most)
	start := time.Now()
	n, err := b.writeRepeated(block, want)
	switch took := time.Since(start); {
	case took > slowWrite:
		b.most = max(b.most/2, smallWrite)
	case took < quickWrite && want == b.most:
		b.most = min(b.most*2, largeWrite)
	}
	return n, err
}

// writeRepeated writes want bytes of block repeated: with one system call for
// TCP, else as much as one block holds.
func (b *plainBulk) writeRepeated(block []byte, want int) (int, error) {
	if b.tcp == nil || want <= len(block) {
		return b.conn.Write(block[:min(want, len(block))])
	}
	if n := min(mostVectors, want/len(block)+1); cap(b.vector) < n {
		b.vector = make([][]byte, 0, n)
	}
	b.vector = b.vector[:0]
	for want > 0 && len(b.vector) < cap(b.vector) {
		n := min(want, len(block))
		b.vector = append(b.vector, block[:n])
		want -= n
	}
	b.vec = b.vector
	n, err := b.vec.WriteTo(b.tcp)
	return int(n), err
}

func (b *plainBulk) Discard(max int) (int, error) {
	if b.drain != nil {
		if max <= 0 {
			return 0, nil
		}
		n, err := b.drain.discard(max)
		if n == 0 && err == nil {
			err = io.EOF
		}
		return n, err
	}
	if b.sink == nil {
		b.sink = make([]byte, smallRead)
	}
	n, err := b.conn.Read(b.sink[:min(max, len(b.sink))])
	if n == len(b.sink) && n < largeRead {
		b.sink = make([]byte, 2*n)
	}
	return n, err
}

func (b *plainBulk) Write(p []byte) (int, error)        { return b.conn.Write(p) }
func (b *plainBulk) Read(p []byte) (int, error)         { return b.conn.Read(p) }
func (b *plainBulk) SetReadDeadline(t time.Time) error  { return b.conn.SetReadDeadline(t) }
func (b *plainBulk) SetWriteDeadline(t time.Time) error { return b.conn.SetWriteDeadline(t) }
func (b *plainBulk) LocalAddrPort() netip.AddrPort      { return AddrPort(b.conn.LocalAddr()) }
func (b *plainBulk) RemoteAddrPort() netip.AddrPort     { return AddrPort(b.conn.RemoteAddr()) }
func (b *plainBulk) Technique() string                  { return "plain" }
func (b *plainBulk) Close() error                       { return b.conn.Close() }

// control runs f on the connection's descriptor.
func (b *plainBulk) control(what string, f func(fd int) error) error {
	if b.tcp == nil {
		return fmt.Errorf("%s: not a TCP socket: %w", what, errors.ErrUnsupported)
	}
	rc, err := b.tcp.SyscallConn()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var ferr error
	if err := rc.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if ferr != nil {
		return fmt.Errorf("%s: %w", what, ferr)
	}
	return nil
}

func (b *plainBulk) Info() (info result.TCPInfo, ok bool) {
	err := b.control("TCP_INFO", func(fd int) (err error) {
		info, err = tcpInfo(fd)
		return err
	})
	return info, err == nil
}

func (b *plainBulk) peerClosed() (closed bool, err error) {
	err = b.control("TCP_INFO", func(fd int) (err error) {
		closed, err = tcpClosed(fd)
		return err
	})
	return closed, err
}

func (b *plainBulk) SetNotSentLowat(n int) error {
	return b.control("TCP_NOTSENT_LOWAT", func(fd int) error { return setNotSentLowat(fd, n) })
}

func (b *plainBulk) SetPacingRate(bps uint64) error {
	return b.control("SO_MAX_PACING_RATE", func(fd int) error { return setPacingRate(fd, bps) })
}

func (b *plainBulk) SetUserTimeout(d time.Duration) error {
	return b.control("TCP_USER_TIMEOUT", func(fd int) error { return setUserTimeout(fd, d) })
}
