package sock

import "syscall"

// ForbidFragments is the Control of a net.ListenConfig for a UDP socket whose
// datagrams are never sent in fragments: what exceeds the path MTU is lost, or
// fails with an error that IsTooBig knows. Systems that cannot forbid it do not.
func ForbidFragments(network, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = forbidFragments(network, int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}
