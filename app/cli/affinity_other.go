//go:build !linux

package cli

import "errors"

// pinTo is not possible here.
func pinTo([]int) (missing []int, err error) {
	return nil, errors.New("this system does not let a program choose its processors")
}
