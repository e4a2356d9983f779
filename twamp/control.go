package twamp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A control is one end of a control connection: messages in and out, opened and
// sealed once there are keys. Reading and writing are for one goroutine each.
type control struct {
	conn net.Conn
	seal *auth.Sealer // nil until the set-up is over, and in mode 1
	open *auth.Opener

	in    []byte // of the message being read
	have  int    // how much of it came
	begun bool   // its first block is opened
	out   []byte
}

func newControl(c net.Conn) *control {
	return &control{conn: c, in: make([]byte, wire.SetUpResponseLen)}
}

// markControl gives the packets of a connection of the system a DSCP.
func markControl(c net.Conn, dscp uint8) error {
	if _, ok := c.(*net.TCPConn); !ok || dscp == 0 {
		return nil
	}
	err4, err6 := ipv4.NewConn(c).SetTOS(int(dscp)<<2), ipv6.NewConn(c).SetTrafficClass(int(dscp)<<2)
	if err4 != nil && err6 != nil {
		return err4
	}
	return nil
}

// fill reads until the first n octets of the message are there. It may be
// called again after an error that passes, such as a deadline.
func (c *control) fill(n int) error {
	if n > len(c.in) {
		c.in = append(c.in, make([]byte, n-len(c.in))...)
	}
	for c.have < n {
		got, err := c.conn.Read(c.in[c.have:n])
		c.have += got
		if err != nil && c.have < n {
			if errors.Is(err, io.EOF) && c.have > 0 {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// clear reads a message of n octets of the set-up. The octets are good until the
// next message is read.
func (c *control) clear(n int) ([]byte, error) {
	if err := c.fill(n); err != nil {
		return nil, err
	}
	c.have = 0
	return c.in[:n], nil
}

// message reads a message of n octets that ends in an HMAC.
func (c *control) message(n int) ([]byte, error) {
	if err := c.fill(n); err != nil {
		return nil, err
	}
	b := c.in[:n]
	if c.begun {
		b = b[wire.BlockLen:]
	}
	c.have, c.begun = 0, false
	if err := c.open.Check(b); err != nil {
		return nil, err
	}
	return c.in[:n], nil
}

// next reads a message whose first block tells what it is. A *wire.FieldError
// comes with that block.
func (c *control) next() ([]byte, error) {
	if err := c.fill(wire.BlockLen); err != nil {
		return nil, err
	}
	first := c.in[:wire.BlockLen]
	if !c.begun {
		c.open.Open(first)
		c.begun = true
	}
	n, err := wire.MessageLen(first)
	if err != nil {
		return first, err
	}
	return c.message(n)
}

// An appender is a message of package wire.
type appender interface {
	AppendBinary([]byte) ([]byte, error)
}

// send writes a message that ends in an HMAC.
func (c *control) send(m appender) error {
	return c.write(m, func(b []byte) { c.seal.Sign(b) })
}

// sendClear writes a message of the set-up.
func (c *control) sendClear(m appender) error { return c.write(m, func([]byte) {}) }

// sendStart writes a Server-Start, whose end is encrypted if there are keys.
func (c *control) sendStart(m wire.ServerStart) error {
	return c.write(m, func(b []byte) { c.seal.Seal(b[wire.ServerStartClear:]) })
}

// writeTime is how long a peer may take to read what we say.
const writeTime = 10 * time.Second

func (c *control) write(m appender, protect func([]byte)) error {
	b, err := m.AppendBinary(c.out[:0])
	if err != nil {
		return err
	}
	c.out = b[:0]
	protect(b)
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	if _, err := c.conn.Write(b); err != nil {
		return fmt.Errorf("control connection: %w", err)
	}
	return nil
}
