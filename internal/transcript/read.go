package transcript

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Read reads a recording in any of its forms, told apart by how it begins:
// JSON, a capture, or else text. port is the server's well-known port, which
// says who is who in a capture; see ReadCapture.
func Read(r io.Reader, port uint16) (*Recording, error) {
	in := bufio.NewReader(r)
	front, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("transcript: read: %w", err)
	}
	trimmed := bytes.TrimLeft(front, " \t\r\n")
	switch {
	case len(front) == 0:
		return nil, errors.New("transcript: the file is empty")
	case isCapture(front):
		return ReadCapture(in, port)
	case len(trimmed) > 0 && trimmed[0] == '{':
		return ReadJSON(in)
	}
	rec, err := ReadText(in)
	if err != nil {
		return nil, fmt.Errorf("%w (neither JSON nor a capture, so read as text)", err)
	}
	return rec, nil
}

// The first bytes of captures: pcap with micro- or nanoseconds in either byte
// order, pcapng.
var captureMagic = [][]byte{
	{0xa1, 0xb2, 0xc3, 0xd4}, {0xd4, 0xc3, 0xb2, 0xa1},
	{0xa1, 0xb2, 0x3c, 0x4d}, {0x4d, 0x3c, 0xb2, 0xa1},
	{0x0a, 0x0d, 0x0d, 0x0a},
}

func isCapture(front []byte) bool {
	for _, m := range captureMagic {
		if bytes.HasPrefix(front, m) {
			return true
		}
	}
	return false
}
