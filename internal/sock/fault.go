package sock

// A Call is a system call of the fast path in which a test can have an error
// appear.
type Call string

// The calls.
const (
	CallSend    Call = "send train" // with GSO
	CallSendMM  Call = "sendmmsg"   // datagrams one by one
	CallReceive Call = "recvmmsg"
	CallWrite   Call = "writev"
	CallRead    Call = "recv"
)
