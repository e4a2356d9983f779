//go:build nano

package transcript

import (
	"errors"
	"io"
)

// ReadCapture says that this program was built without the readers of captures,
// which are large (build tag nano).
func ReadCapture(io.Reader, uint16) (*Recording, error) {
	return nil, errors.New("transcript: captures cannot be read by this small build; use the normal one")
}
