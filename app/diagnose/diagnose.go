// Package diagnose reads the events of a throughput test and says why it was
// not faster: the limit, the figures that show it, and what to try. It also
// tells how steady the rate was and grades the latency under load.
//
// It names a limit only when the figures leave no other; when none is at its
// limit, or when two are and neither explains the other, the answer is unknown.
// The rules stand in one table, causes; docs/why.md tells them in words.
//
// The package is pure: no I/O, no clock. It knows no protocol and no output.
package diagnose

// The words for what kept a test from being faster.
const (
	OwnRateLimit  = "own_rate_limit"  // the target rate of the test
	PeerRateLimit = "peer_rate_limit" // a rate that the far end holds itself to
	TooShort      = "too_short"       // the test ended before the rate settled
	ReceiverDrops = "receiver_drops"  // the receiver's own socket buffer overflowed
	CPULocal      = "cpu_local"       // the processors of this machine
	CPURemote     = "cpu_remote"      // the processors of the far end
	PathFull      = "path_full"       // a queue on the path stood full, or the path passed no more
	PathLoss      = "path_loss"       // packets were lost on the path without a queue
	ReceiveWindow = "receive_window"  // the TCP receiver took no more
	SendBuffer    = "send_buffer"     // the TCP sender's socket buffer
	PacingLate    = "pacing_late"     // the sender could not keep its timetable
	PeerSlow      = "peer_slow"       // the far end sent no faster
	Unknown       = "unknown"         // nothing is certain
)

// The codes of the Notes that Sink adds, and of the one that it heeds.
const (
	NoteCPUBusy       = "cpu_busy"        // added: a processor may be the limit
	NoteViewsDiffer   = "views_differ"    // added: sender and receiver counted differently
	NotePeerRateLimit = "peer_rate_limit" // heeded: the far end said that it limits the rate
)

// What the rules compare with. Shares are of 1, CPU figures are percent.
const (
	metShare    = 0.97 // of the target rate: it was reached
	overShare   = 1.05 // of the target rate: nobody held it
	cpuFull     = 95.0 // median of the intervals: a processor is the limit
	cpuHigh     = 90.0 // reached by three quarters of the intervals as well
	cpuCalm     = 80.0 // at most: the processor cannot have lost packets
	cpuWarn     = 70.0 // above: worth a warning
	mostly      = 0.75 // of the intervals, or of the time
	limitedPart = 0.50 // of the sending time: TCP waited for a window or a buffer
	freePart    = 0.25 // of the sending time, at most: it did not wait for either
	dropShare   = 0.01 // of the packets offered: the receiver's socket buffer
	lossUDP     = 0.05 // of the packets offered: loss holds a UDP stream down
	lossNone    = 0.001
	resentTCP   = 0.001 // of the segments: enough to hold TCP down on long paths
	resentMuch  = 0.01  // of the segments: more than a busy processor loses
	skippedPart = 0.01  // of the packets due: the sender was late

	// A path passes no more when what came varied by no more than the first, while
	// what was sent, all the time more by the third, varied by the second.
	passedApart  = 0.08
	offeredApart = 0.20
	overOffered  = 0.025
)
