package wire

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Sizes of the fields of the set-up, octets.
const (
	KeyIDLen = 80
	TokenLen = 64
	IVLen    = 16
)

// A ServerGreeting is what a server says first.
//
//	off len
//	  0  12  unused
//	 12   4  Modes
//	 16  16  Challenge
//	 32  16  Salt
//	 48   4  Count
//	 52  12  zero
//
// Source: RFC 4656, section 3.1.
type ServerGreeting struct {
	Modes     Mode // offered; 0 means that the server wants nothing to do with us
	Challenge [16]byte
	Salt      [16]byte
	Count     uint32 // iterations of PBKDF2; a power of two, at least 1024
}

// ParseServerGreeting reads a ServerGreeting from the front of b and ignores
// what follows. It does not judge Count: auth.CheckCount does.
func ParseServerGreeting(b []byte) (ServerGreeting, error) {
	if len(b) < ServerGreetingLen {
		return ServerGreeting{}, short("server-greeting")
	}
	return ServerGreeting{
		Modes:     Mode(binary.BigEndian.Uint32(b[12:])),
		Challenge: [16]byte(b[16:]),
		Salt:      [16]byte(b[32:]),
		Count:     binary.BigEndian.Uint32(b[48:]),
	}, nil
}

// AppendBinary appends g's ServerGreetingLen octets to b. It never fails.
func (g ServerGreeting) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, zeros[:12]...)
	b = binary.BigEndian.AppendUint32(b, uint32(g.Modes))
	b = append(b, g.Challenge[:]...)
	b = append(b, g.Salt[:]...)
	b = binary.BigEndian.AppendUint32(b, g.Count)
	return append(b, zeros[:12]...), nil
}

// A SetUpResponse is the client's choice of a mode and its proof of the key.
// Without a key, all but Mode is zero.
//
//	off len
//	  0   4  Mode
//	  4  80  KeyID, padded with zeros
//	 84  64  Token
//	148  16  Client-IV
//
// Source: RFC 4656, section 3.1.
type SetUpResponse struct {
	Mode     Mode   // 0 means that the client declines
	KeyID    string // at most KeyIDLen octets, the last one not zero
	Token    [TokenLen]byte
	ClientIV [IVLen]byte
}

// ParseSetUpResponse reads a SetUpResponse from the front of b and ignores
// what follows. The KeyID is as the peer sent it: quote it before showing it.
func ParseSetUpResponse(b []byte) (SetUpResponse, error) {
	if len(b) < SetUpResponseLen {
		return SetUpResponse{}, short("set-up-response")
	}
	return SetUpResponse{
		Mode:     Mode(binary.BigEndian.Uint32(b)),
		KeyID:    strings.TrimRight(string(b[4:84]), "\x00"),
		Token:    [TokenLen]byte(b[84:]),
		ClientIV: [IVLen]byte(b[148:]),
	}, nil
}

// AppendBinary appends r's SetUpResponseLen octets to b. It fails if the KeyID
// has more than KeyIDLen octets.
func (r SetUpResponse) AppendBinary(b []byte) ([]byte, error) {
	if len(r.KeyID) > KeyIDLen {
		return b, fmt.Errorf("twamp: set-up-response: key id of %d octets, at most %d fit", len(r.KeyID), KeyIDLen)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(r.Mode))
	b = append(b, r.KeyID...)
	b = append(b, zeros[:KeyIDLen-len(r.KeyID)]...)
	b = append(b, r.Token[:]...)
	return append(b, r.ClientIV[:]...), nil
}

// A ServerStart ends the set-up. Its last block is the first that a server
// encrypts, when it accepts and the mode has keys; it carries no HMAC.
//
//	off len
//	  0  15  zero
//	 15   1  Accept
//	 16  16  Server-IV
//	 32   8  Start-Time
//	 40   8  zero
//
// Source: RFC 4656, section 3.1.
type ServerStart struct {
	Accept    Accept
	ServerIV  [IVLen]byte
	StartTime Timestamp // NTP; when the server started; 0 unless Accept is OK
}

// ParseServerStart reads a ServerStart from the front of b and ignores what
// follows.
func ParseServerStart(b []byte) (ServerStart, error) {
	if len(b) < ServerStartLen {
		return ServerStart{}, short("server-start")
	}
	return ServerStart{
		Accept:    Accept(b[15]),
		ServerIV:  [IVLen]byte(b[16:]),
		StartTime: Timestamp(binary.BigEndian.Uint64(b[32:])),
	}, nil
}

// AppendBinary appends s's ServerStartLen octets to b. It never fails.
func (s ServerStart) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, zeros[:15]...)
	b = append(b, byte(s.Accept))
	b = append(b, s.ServerIV[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.StartTime))
	return append(b, zeros[:8]...), nil
}
