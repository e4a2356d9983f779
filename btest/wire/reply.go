package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Verdict is the first byte of a server's answer.
type Verdict uint8

// The verdicts.
const (
	Refused  Verdict = 0 // or: login failed
	Go       Verdict = 1
	WantMD5  Verdict = 2 // a 16-byte challenge follows
	WantSRP5 Verdict = 3 // EC-SRP5, the client speaks next
)

// A Reply answers a command, a join record or a login.
//
//	off len
//	  0   1  Verdict
//	  1   2  Token, or zero
//	  3   1  0
//
// Source: testdata/rs-tcp-multi-transmit-md5.json; verdict 3 from captures of
// RouterOS 6.43 and later.
type Reply struct {
	Verdict Verdict
	Token   Token // for more TCP connections; zero otherwise
}

// ParseReply reads a Reply from the front of b.
func ParseReply(b []byte) (Reply, error) {
	if len(b) < ReplyLen {
		return Reply{}, fmt.Errorf("btest: reply: %w", io.ErrUnexpectedEOF)
	}
	r := Reply{Verdict: Verdict(b[0])}
	switch {
	case r.Verdict > WantSRP5, b[3] != 0, r.Verdict != Go && (b[1] != 0 || b[2] != 0):
		return Reply{}, &BytesError{"reply", bytes.Clone(b[:ReplyLen])}
	case r.Verdict == Go:
		r.Token = Token{b[1], b[2]}
	}
	return r, nil
}

// AppendBinary appends r's ReplyLen bytes to b. It never fails.
func (r Reply) AppendBinary(b []byte) ([]byte, error) {
	return append(b, byte(r.Verdict), r.Token.Hi, r.Token.Lo, 0), nil
}

// A Response is a client's answer to an MD5 challenge.
//
//	off len
//	  0  16  Hash
//	 16  32  Name, zero-padded, cut at 32
//
// Source: testdata/rs-tcp-receive-md5.json, confirmed by captures of RouterOS 6.
type Response struct {
	Hash [16]byte
	Name string // at most NameLen bytes, no zero byte
}

// ParseResponse reads a Response from the front of b.
func ParseResponse(b []byte) (Response, error) {
	if len(b) < ResponseLen {
		return Response{}, fmt.Errorf("btest: login: %w", io.ErrUnexpectedEOF)
	}
	name, _, _ := bytes.Cut(b[16:ResponseLen], []byte{0})
	return Response{Hash: [16]byte(b[:16]), Name: string(name)}, nil
}

// AppendBinary appends r's ResponseLen bytes to b. It never fails: a longer
// name is cut as RouterOS cuts it.
func (r Response) AppendBinary(b []byte) ([]byte, error) {
	var name [NameLen]byte
	copy(name[:], r.Name)
	return append(append(b, r.Hash[:]...), name[:]...), nil
}

// AppendPort appends the announcement of the server's UDP port to b.
func AppendPort(b []byte, port uint16) []byte { return binary.BigEndian.AppendUint16(b, port) }

// ParsePort reads the announcement of the server's UDP port, which must leave
// room for the client's port above it.
func ParsePort(b []byte) (uint16, error) {
	if len(b) < PortLen {
		return 0, fmt.Errorf("btest: UDP port: %w", io.ErrUnexpectedEOF)
	}
	p := binary.BigEndian.Uint16(b)
	if p == 0 || p > MaxUDPPort {
		return 0, &FieldError{"UDP port", "number", uint64(p)}
	}
	return p, nil
}
