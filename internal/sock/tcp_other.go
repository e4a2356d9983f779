//go:build !linux

package sock

import (
	"errors"
	"time"

	"github.com/sonde-net/sonde/result"
)

func tcpInfo(int) (result.TCPInfo, error)     { return result.TCPInfo{}, errors.ErrUnsupported }
func tcpClosed(int) (bool, error)             { return false, errors.ErrUnsupported }
func setNotSentLowat(int, int) error          { return errors.ErrUnsupported }
func setPacingRate(int, uint64) error         { return errors.ErrUnsupported }
func setUserTimeout(int, time.Duration) error { return errors.ErrUnsupported }
