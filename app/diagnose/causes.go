package diagnose

import "slices"

// A cause is a limit that a direction may show.
type cause struct {
	word string
	// shows returns the figures by which w shows this limit, each of them needed;
	// nil if one is missing or speaks against it.
	shows func(w *way) []string
	// says names the limit in one line, and what to try.
	says func(w *way) (text, try string)
	// explains are the words of what this limit brings with it: shown together,
	// only this one is the limit.
	explains []string
}

// causes are all limits that can be named. A direction has the limit that it
// shows and nothing else that it shows explains; if none or more than one is
// left, the limit is unknown.
var causes = []cause{
	{OwnRateLimit, ownRateLimit, sayOwnRateLimit, []string{
		TooShort, ReceiverDrops, CPULocal, CPURemote, PathFull, PathLoss, ReceiveWindow, SendBuffer, PacingLate, PeerSlow}},
	{PeerRateLimit, peerRateLimit, sayPeerRateLimit, []string{
		TooShort, ReceiverDrops, CPULocal, CPURemote, PathFull, PathLoss, ReceiveWindow, SendBuffer, PacingLate, PeerSlow}},
	{TooShort, tooShort, sayTooShort, []string{
		ReceiverDrops, CPULocal, CPURemote, PathFull, PathLoss, ReceiveWindow, SendBuffer, PacingLate, PeerSlow}},
	{ReceiverDrops, receiverDrops, sayReceiverDrops, []string{CPULocal, CPURemote, PathLoss}},
	{CPULocal, cpuLocal, sayCPULocal, []string{ReceiveWindow, SendBuffer, PacingLate, PeerSlow}},
	{CPURemote, cpuRemote, sayCPURemote, []string{ReceiveWindow, SendBuffer, PacingLate, PeerSlow}},
	{PathFull, pathFull, sayPathFull, []string{PathLoss, ReceiveWindow, SendBuffer, PacingLate}},
	{PathLoss, pathLoss, sayPathLoss, nil},
	{ReceiveWindow, receiveWindow, sayReceiveWindow, nil},
	{SendBuffer, sendBuffer, saySendBuffer, nil},
	{PacingLate, pacingLate, sayPacingLate, nil},
	{PeerSlow, peerSlow, sayPeerSlow, nil},
}

// A finding is a cause that a direction showed.
type finding struct {
	*cause
	way      *way
	evidence []string
}

// findings returns what w shows and nothing else that it shows explains.
func findings(w *way) []finding {
	var shown []finding
	var explained []string
	for n := range causes {
		c := &causes[n]
		if evidence := c.shows(w); evidence != nil {
			shown = append(shown, finding{c, w, evidence})
			explained = append(explained, c.explains...)
		}
	}
	return slices.DeleteFunc(shown, func(f finding) bool { return slices.Contains(explained, f.word) })
}
