package account

import "errors"

// ErrDirectory is an account of which a directory, and not the store, did not
// answer.
var ErrDirectory = errors.New("the directory did not answer")

// An Account is somebody whom a server serves. What proves that it is them is
// kept apart from it.
type Account struct {
	Name     string
	Disabled bool   // refused, and cut in the middle of a test
	Limits   Limits // what it says nothing of is left to the server's defaults
}
