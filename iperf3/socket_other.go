//go:build !linux

package iperf3

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// These are for systems where the options are not offered, or not the same.

func setUserTimeout(*net.TCPConn, time.Duration) error { return errors.ErrUnsupported }
func setCongestion(*net.TCPConn, string) error         { return errors.ErrUnsupported }
func setTOS(*net.TCPConn, int) error                   { return errors.ErrUnsupported }

func dialControl(mss int) func(network, address string, c syscall.RawConn) error {
	if mss == 0 {
		return nil
	}
	return func(string, string, syscall.RawConn) error { return errors.ErrUnsupported }
}
