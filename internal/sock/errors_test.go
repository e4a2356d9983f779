package sock

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestErrors(t *testing.T) {
	for _, e := range losses {
		err := &net.OpError{Op: "write", Net: "udp", Err: os.NewSyscallError("sendto", e)}
		if !IsLoss(err) || IsTooBig(err) {
			t.Errorf("%v: not taken for a loss", err)
		}
	}
	if err := fmt.Errorf("send: %w", tooBig); !IsTooBig(err) || IsLoss(err) {
		t.Errorf("%v: not taken for too big", err)
	}
	for _, err := range []error{nil, io.EOF, net.ErrClosed, errors.New("no"), syscall.EINVAL, os.ErrDeadlineExceeded} {
		if IsLoss(err) || IsTooBig(err) {
			t.Errorf("%v: taken for a loss or too big", err)
		}
	}
}
