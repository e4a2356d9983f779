package result

import "errors"

// A Coder is an error with a stable word for programs and a place in the table
// of exit codes. Error here and the errors of package admit are Coders.
type Coder interface {
	error
	Code() string
	ExitCode() int
}

// An Error is a failure of a run in words that a person can act upon.
type Error struct {
	Word string // stable, such as "auth_failed"; one of the Code constants
	Text string // what was being done, to whom, and what was wrong
	Hint string // what to do next; may be empty
	Err  error  // the cause; may be nil
}

// The words of Errors.
const (
	CodeUsage       = "usage"
	CodeRefused     = "refused"        // the far end said no, or nobody listens
	CodeUnreachable = "unreachable"    // no answer, no route, no such name
	CodeProtocol    = "protocol_error" // the far end misbehaved
	CodeUnsupported = "unsupported"
	CodeThreshold   = "threshold_crossed"
	CodeUntold      = "could_not_tell" // a threshold wants a figure that was not measured
	CodeAuth        = "auth_failed"
	CodeLimit       = "limit" // refused or cut by a quota or limit
	CodeLocal       = "local_resource"
	CodePeerLost    = "peer_lost"
	CodeInterrupted = "interrupted"
	CodeTerminated  = "terminated"
)

// exits is the table of docs/exit-codes: one status for each word.
var exits = map[string]int{
	CodeUsage:       2,
	CodeRefused:     1,
	CodeUnreachable: 1,
	CodeProtocol:    1,
	CodeUnsupported: 1,
	CodeThreshold:   3,
	CodeUntold:      1,
	CodeAuth:        4,
	CodeLimit:       5,
	CodeLocal:       6,
	CodePeerLost:    7,
	CodeInterrupted: 130,
	CodeTerminated:  143,
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Text
	case e.Text == "":
		return e.Err.Error()
	}
	return e.Text + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code returns the stable word.
func (e *Error) Code() string { return e.Word }

// ExitCode returns the exit status that belongs to the word.
func (e *Error) ExitCode() int {
	if n, ok := exits[e.Word]; ok {
		return n
	}
	return 1
}

// CodeOf finds the stable word of err: empty for nil, "error" when it has none.
func CodeOf(err error) string {
	if err == nil {
		return ""
	}
	if c, ok := errors.AsType[Coder](err); ok {
		return c.Code()
	}
	return "error"
}

// ExitCode is the exit status for err: 0 for nil, 1 when it has no code.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if c, ok := errors.AsType[Coder](err); ok {
		return c.ExitCode()
	}
	return 1
}

// HintOf finds the advice that belongs to err, or "".
func HintOf(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Advice() string
	}](err); ok {
		return h.Advice()
	}
	return ""
}

// Advice returns the hint.
func (e *Error) Advice() string { return e.Hint }
