// Package sock is how sonde's tests meet the network: UDP sockets that move
// datagrams in batches, TCP connections given over to bulk traffic, and what the
// kernel knows of both.
//
// On Linux the sockets are taken out of the Go runtime's poller and use what the
// kernel offers for many packets at once (GSO, GRO, recvmmsg, MSG_TRUNC); each
// refused offer is replaced by the next best, without an error, and Technique
// says what is in use. Everywhere else, and over any net.Conn or net.PacketConn
// such as a test's network in memory, the same interfaces stand on plain calls.
//
// The package counts nothing and paces nothing; package stream does.
package sock

import (
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/result"
)

// MaxDatagram is the largest UDP payload over IPv4: 65535 less the headers.
const MaxDatagram = 65535 - 20 - 8

// enoughBuffer is the receive buffer, in bytes as the kernel counts, from which
// on a reader may sleep on a timer instead of being woken: what comes meanwhile
// must find room, and at 118 Gbit/s 200 µs are 3 MB. With the usual 208 KiB such
// a nap loses most packets.
const enoughBuffer = 8 << 20

// A PacketConn is an unconnected UDP socket for bulk traffic, datagrams in
// batches. One goroutine may read while another writes; the rest of the methods
// may be called at any time.
type PacketConn interface {
	// ReadBatch waits for at least one datagram and fills ms from the front. It
	// returns os.ErrDeadlineExceeded after the read deadline and net.ErrClosed
	// after Close.
	ReadBatch(ms []Message) (int, error)
	// WriteTrain sends buf as datagrams of size bytes each, the last of which
	// may be shorter, and returns how many the kernel took: on an error the rest
	// was not sent. A size of 0 sends one empty datagram.
	WriteTrain(buf []byte, size int, to netip.AddrPort) (n int, err error)
	SetReadDeadline(time.Time) error  // wakes a call that is already blocked
	SetWriteDeadline(time.Time) error // likewise
	LocalAddrPort() netip.AddrPort
	// Dropped is how many times our own receive buffer had no room so far: for a
	// datagram, or for a whole train where the kernel had joined it. False where
	// the system does not tell.
	Dropped() (uint64, bool)
	// Technique names how datagrams move, such as "gso128+gro+nap" or "plain".
	Technique() string
	Close() error
}

// A Message is one datagram, or a train of datagrams of one size that the
// kernel had joined.
type Message struct {
	// Data is the caller's buffer. What does not fit is dropped: a buffer of
	// a few bytes reads headers only, and costs no copy of the rest.
	Data []byte
	// Len is how many bytes came, which may be more than Data holds.
	Len int
	// Segment is the size of each datagram of a train but the last, which may be
	// shorter; 0 when this is one datagram.
	Segment int
	From    netip.AddrPort // never a v4-mapped address
	At      time.Time      // the kernel's receive stamp; zero when not stamped
}

// PacketOptions are wishes for a UDP socket. The zero value is right for a test.
type PacketOptions struct {
	SendBuffer    int    // bytes; 0 means 4 MiB
	ReceiveBuffer int    // bytes; 0 means 64 MiB where we may, else the system's most
	Fragment      bool   // let IP fragment what exceeds the path MTU; default is never
	Stamp         bool   // have the kernel stamp arrivals (Message.At)
	TrafficClass  int    // the IPv4 TOS or IPv6 traffic class octet; 0 leaves the default
	Interface     string // leave by this interface; empty for any
	Plain         bool   // plain system calls only
	// Refusals has a send fail with ECONNREFUSED after the far end has answered
	// that its port is closed (ICMP; Linux, IP_RECVERR of ip(7)). For a socket
	// that sends to one address.
	Refusals bool
}

// A BulkConn is a TCP connection given over to bulk traffic; on Linux it is
// taken out of the runtime's poller. One goroutine may read while another
// writes; the rest of the methods may be called at any time.
type BulkConn interface {
	// WriteBlocks writes up to total bytes made of block repeated, beginning at
	// its front, and returns after some were written: n need not be a multiple
	// of the block.
	WriteBlocks(block []byte, total int) (n int, err error)
	Write(p []byte) (int, error)
	Read(p []byte) (int, error)
	// Discard receives at most max bytes and throws them away, in the kernel
	// where it can. It returns io.EOF when the peer has closed. On a detached
	// connection it returns 0 when it has waited, so that its caller decides anew
	// how much is to come.
	Discard(max int) (int, error)
	SetReadDeadline(time.Time) error  // wakes a call that is already blocked
	SetWriteDeadline(time.Time) error // likewise
	LocalAddrPort() netip.AddrPort
	RemoteAddrPort() netip.AddrPort
	// Info is what the kernel knows of the connection; false where it does not tell.
	Info() (result.TCPInfo, bool)
	// SetNotSentLowat bounds the bytes that wait unsent in the kernel, so that
	// what is written next leaves soon.
	SetNotSentLowat(n int) error
	// SetPacingRate has the kernel spread the segments; 0 lifts the limit.
	SetPacingRate(bitsPerSecond uint64) error
	// SetUserTimeout bounds how long sent data may stay unacknowledged.
	SetUserTimeout(d time.Duration) error
	// Technique names how bytes move, such as "writev+trunc+nap" or "plain".
	Technique() string
	Close() error
}
