package wire

import (
	"encoding/json"
	"fmt"

	"github.com/sonde-net/sonde/internal/peerjson"
)

// A Message is one control message: a Configuration, Connect, ConnectReady,
// Begin, Interval, StreamEnd, End or Queued.
type Message interface {
	Kind() Kind
	// AppendBinary appends the message's JSON to b, without the prefix; keys
	// stand in alphabetical order, as the peer writes them.
	AppendBinary(b []byte) ([]byte, error)
}

// Parse reads the payload of one control message. Keys that it does not know
// are ignored, which is what lets peers of different age talk; keys of the
// wrong type are a *FieldError.
func Parse(payload []byte) (Message, error) {
	o, err := parseObject("message", payload)
	if err != nil {
		return nil, err
	}
	o.require("a string", "kind")
	kind := Kind(o.text("kind"))
	if o.err != nil {
		return nil, o.err
	}
	read, ok := readers[kind]
	if !ok {
		return nil, &KindError{Kind: peerjson.Excerpt([]byte(kind))}
	}
	o.message = string(kind)
	m := read(kind, o)
	if o.err != nil {
		return nil, o.err
	}
	return m, nil
}

var readers = map[Kind]func(Kind, *object) Message{
	KindConfiguration: func(_ Kind, o *object) Message { return readConfiguration(o) },
	KindConnect:       func(_ Kind, o *object) Message { return readConnect(o) },
	KindConnectReady:  func(_ Kind, o *object) Message { return ConnectReady{Sonde: readAccept(o)} },
	KindBegin:         func(Kind, *object) Message { return Begin{} },
	KindReceive:       func(_ Kind, o *object) Message { return readInterval(o, false) },
	KindSend:          func(_ Kind, o *object) Message { return readInterval(o, true) },
	KindDone:          func(_ Kind, o *object) Message { return readStreamEnd(o, false) },
	KindFailed:        func(_ Kind, o *object) Message { return readStreamEnd(o, true) },
	KindEnd:           func(Kind, *object) Message { return End{} },
	KindQueued:        func(_ Kind, o *object) Message { return readQueued(o) },
}

// A KindError reports a message of a kind that is not known.
type KindError struct{ Kind string }

func (e *KindError) Error() string { return fmt.Sprintf("rperf: unknown kind %q of message", e.Kind) }

// fields are the keys of a message that is being written. JSON writes them
// sorted.
type fields map[string]any

func appendJSON(b []byte, kind Kind, f fields) ([]byte, error) {
	f["kind"] = kind
	out, err := json.Marshal(f)
	if err != nil {
		return b, fmt.Errorf("rperf: %s: %w", kind, err)
	}
	return append(b, out...), nil
}
