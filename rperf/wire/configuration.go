package wire

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/sonde-net/sonde/internal/peerjson"
)

// A Configuration is the client's order for one test, its first message.
//
//	family          "udp"; anything else is TCP
//	role            what the server is to do: "download" receive, else send
//	test_id         16 numbers
//	streams         only counts when the server receives
//	length          bytes per write or datagram
//	receive_buffer  when the server receives
//	stream_ports    when the server sends, and all that follow
//	bandwidth       bytes/s per stream
//	duration        seconds
//	send_interval   seconds
//	send_buffer     bytes
//	no_delay        TCP only
type Configuration struct {
	UDP     bool
	Reverse bool // the server sends
	TestID  TestID
	Streams int // 0 to MaxStreams; as many as StreamPorts when Reverse
	Length  int // bytes per write (TCP) or of one datagram's payload (UDP)

	ReceiveBuffer int // bytes, 0 leaves it to the system; only without Reverse

	// Only with Reverse.
	StreamPorts  []uint16 // where the client receives, in stream order
	Bandwidth    uint64   // bytes/s per stream; 0 ends a stream at once
	Duration     Seconds
	SendInterval Seconds // between bursts
	SendBuffer   int     // bytes, 0 leaves it to the system
	NoDelay      bool    // TCP only

	Sonde *Offer // nil from peers that are not ours
}

// Kind returns KindConfiguration.
func (Configuration) Kind() Kind { return KindConfiguration }

// maxBandwidth keeps bytes/s convertible to bit/s.
const maxBandwidth = 1 << 60

// maxBuffer is what a socket option can say.
const maxBuffer = 1<<31 - 1

func readConfiguration(o *object) Configuration {
	c := Configuration{
		UDP:     o.text("family") == "udp",
		Reverse: o.has("role") && o.text("role") != "download",
		TestID:  o.testID("test_id"),
		Streams: 1,
		Sonde:   readOffer(o),
	}
	if o.has("streams") && !c.Reverse {
		c.Streams = int(o.integer("streams", 0, MaxStreams))
	}
	c.Length = readLength(o, c.UDP)
	if c.Reverse {
		readUpload(o, &c)
		return c
	}
	o.require("a whole number", "receive_buffer")
	c.ReceiveBuffer = int(o.integer("receive_buffer", 0, maxBuffer))
	return c
}

// readLength reads what a peer makes of length: for UDP modulo 2^16, and never
// below the header.
func readLength(o *object, udp bool) int {
	least := MinTCPLength
	if udp {
		least = MinUDPLength
	}
	if !o.has("length") {
		return least
	}
	n := int(o.integer("length", 0, MaxLength))
	if udp {
		n %= 1 << 16
	}
	if n < least {
		o.reject("length", fmt.Sprintf("at least %d", least))
	}
	return n
}

// readUpload reads the keys that a sending server needs. Those that a real
// server cannot do without are required here too.
func readUpload(o *object, c *Configuration) {
	o.require("a list of ports", "stream_ports")
	o.require("a whole number", "send_buffer")
	if !c.UDP {
		o.require("a number", "duration", "send_interval")
		o.require("true or false", "no_delay")
	}
	c.StreamPorts = o.ports("stream_ports")
	c.Streams = len(c.StreamPorts)
	c.Bandwidth = uint64(o.number("bandwidth", 0, maxBandwidth))
	c.Duration = Seconds(o.number("duration", 0, MaxDuration))
	c.SendInterval = 1
	if o.has("send_interval") {
		c.SendInterval = Seconds(o.number("send_interval", 0, MaxDuration))
	}
	c.SendBuffer = int(o.integer("send_buffer", 0, maxBuffer))
	if !c.UDP {
		c.NoDelay = o.flag("no_delay")
	}
}

// testID is a test id as a list of numbers, read as leniently as the peer
// does, or as the UUID string that a fork writes.
func (o *object) testID(key string) (id TestID) {
	v, ok := o.raw(key)
	if !ok {
		return id
	}
	if list, _, err := peerjson.Elements(v, len(id)); err == nil {
		for i, e := range list {
			if n, err := strconv.ParseInt(string(e), 10, 64); err == nil {
				id[i] = byte(n)
			}
		}
		return id
	}
	var text string
	if json.Unmarshal(v, &text) == nil {
		plain := strings.ReplaceAll(text, "-", "")
		if b, err := hex.DecodeString(plain); err == nil && len(b) == len(id) {
			return TestID(b)
		}
	}
	o.reject(key, "a list of 16 numbers")
	return id
}

// AppendBinary implements Message. All keys that a real server needs are
// always there: leaving one out makes it unusable for everybody.
func (c Configuration) AppendBinary(b []byte) ([]byte, error) {
	id := make([]int, len(c.TestID)) // a []byte would become base64
	for i, v := range c.TestID {
		id[i] = int(v)
	}
	f := fields{
		"family":  family(c.UDP),
		"role":    "download",
		"test_id": id,
		"streams": c.Streams,
		"length":  c.Length,
	}
	if c.Sonde != nil {
		f["sonde"] = c.Sonde.fields()
	}
	if !c.Reverse {
		f["receive_buffer"] = c.ReceiveBuffer
		return appendJSON(b, KindConfiguration, f)
	}
	f["role"] = "upload"
	f["stream_ports"] = portList(c.StreamPorts)
	f["bandwidth"] = c.Bandwidth
	f["duration"] = float64(c.Duration)
	f["send_interval"] = float64(c.SendInterval)
	f["send_buffer"] = c.SendBuffer
	if !c.UDP {
		f["no_delay"] = c.NoDelay
	}
	return appendJSON(b, KindConfiguration, f)
}

func family(udp bool) string {
	if udp {
		return "udp"
	}
	return "tcp"
}

// portList is never null in JSON: a peer cannot read that.
func portList(ports []uint16) []uint16 {
	if ports == nil {
		return []uint16{}
	}
	return ports
}
