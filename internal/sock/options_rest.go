//go:build !linux && !darwin && !freebsd && !windows

package sock

import "errors"

// forbidFragments does nothing: these systems have no way to ask for it, and
// the result's size is for the user to choose below the path MTU.
func forbidFragments(string, int) error { return nil }

func setTrafficClass(string, int, int) error { return errors.ErrUnsupported }
