//go:build !linux

package rperf

import (
	"errors"
	"fmt"
)

// pinTo is for systems where a thread cannot be kept on a processor.
func pinTo(cpu int) error { return fmt.Errorf("processor %d: %w", cpu, errors.ErrUnsupported) }
