package wire

// A Connect is the server's answer to a Configuration when it is to receive:
// one port per stream, in stream order.
type Connect struct {
	StreamPorts []uint16
	Sonde       *Accept // nil from peers that are not ours
}

// Kind returns KindConnect.
func (Connect) Kind() Kind { return KindConnect }

func readConnect(o *object) Connect {
	o.require("a list of ports", "stream_ports")
	return Connect{StreamPorts: o.ports("stream_ports"), Sonde: readAccept(o)}
}

// AppendBinary implements Message.
func (c Connect) AppendBinary(b []byte) ([]byte, error) {
	f := fields{"stream_ports": portList(c.StreamPorts)}
	c.Sonde.add(f)
	return appendJSON(b, KindConnect, f)
}

// A ConnectReady is the server's answer to a Configuration when it is to send:
// its senders are prepared, not yet connected.
type ConnectReady struct {
	Sonde *Accept // nil from peers that are not ours
}

// Kind returns KindConnectReady.
func (ConnectReady) Kind() Kind { return KindConnectReady }

// AppendBinary implements Message.
func (c ConnectReady) AppendBinary(b []byte) ([]byte, error) {
	f := fields{}
	c.Sonde.add(f)
	return appendJSON(b, KindConnectReady, f)
}

// Begin is the client's word that data may flow: both ends start their streams.
type Begin struct{}

// Kind returns KindBegin.
func (Begin) Kind() Kind { return KindBegin }

// AppendBinary implements Message.
func (Begin) AppendBinary(b []byte) ([]byte, error) { return appendJSON(b, KindBegin, fields{}) }

// End is the client's word that it has what it wants.
type End struct{}

// Kind returns KindEnd.
func (End) Kind() Kind { return KindEnd }

// AppendBinary implements Message.
func (End) AppendBinary(b []byte) ([]byte, error) { return appendJSON(b, KindEnd, fields{}) }

// A StreamEnd is the server's word that a stream is over; its last Interval
// has been sent before. There is one for each stream.
type StreamEnd struct {
	Failed bool
	Stream uint8
}

// Kind returns KindDone or KindFailed.
func (s StreamEnd) Kind() Kind {
	if s.Failed {
		return KindFailed
	}
	return KindDone
}

func readStreamEnd(o *object, failed bool) StreamEnd {
	o.require("a stream number", "stream_idx")
	return StreamEnd{Failed: failed, Stream: uint8(o.integer("stream_idx", 0, MaxStreams))}
}

// AppendBinary implements Message.
func (s StreamEnd) AppendBinary(b []byte) ([]byte, error) {
	return appendJSON(b, s.Kind(), fields{"origin": "server", "stream_idx": s.Stream})
}
