package twamp

import (
	"encoding/binary"
	"errors"

	"github.com/sonde-net/sonde/twamp/wire"
)

// answerTLVs turns the TLVs of a STAMP request, copied to their place behind
// the base packet, into those of the reply, in place: RFC 8972, section 4. seq
// is the request's. Padding that is no TLV stays as it is.
func (r *reflection) answerTLVs(reply []byte, seq uint32, a arrival) outcome {
	base := r.layout.ReplyLen()
	tlvs := reply[base:]
	if first, _, err := wire.ParseTLV(tlvs); !r.layout.Keyed && (err != nil || first.Flags != wire.Unrecognized || first.Type == 0 || first.Type == 255) {
		return reflected
	}
	if !r.intact(tlvs, seq) {
		flagAll(tlvs, wire.Unintegral)
		return reflected
	}
	for left := tlvs; len(left) > 0; {
		t, rest, err := wire.ParseTLV(left)
		known := false
		if err == nil {
			known, err = r.answerTLV(t, a)
		}
		if errors.Is(err, errUnwanted) {
			return unwanted
		}
		if known {
			left[0] &^= byte(wire.Unrecognized)
		}
		if err != nil {
			left[0] |= byte(wire.Malformed) // and nothing behind it is looked at
			break
		}
		left = rest
	}
	r.signTLVs(reply)
	return reflected
}

// errUnwanted says that the sender asks for no reply: RFC 9503, section 4.1.1.
var errUnwanted = errors.New("twamp: no reply is wanted")

// answerTLV fills in one value and reports whether its type is known. The error
// is wire.ErrMalformed or errUnwanted.
func (r *reflection) answerTLV(t wire.TLV, a arrival) (known bool, err error) {
	switch t.Type {
	case wire.ExtraPaddingType, wire.HMACType: // the HMAC is written last
		return true, nil
	case wire.LocationType:
		return true, r.answerLocation(t.Value, a)
	case wire.TimestampInfoType:
		return true, r.answerTimestampInfo(t.Value, a)
	case wire.ClassOfServiceType:
		return true, r.answerClass(t.Value, a)
	case wire.DirectMeasurementType:
		return true, r.answerDirect(t.Value)
	case wire.AccessReportType:
		_, err = wire.ParseAccessReport(t.Value)
		return true, err
	case wire.FollowUpType:
		return true, r.answerFollowUp(t.Value)
	case wire.DestinationNodeType:
		node, err := wire.ParseDestinationNode(t.Value)
		// It keeps its U flag if we are not that node.
		return err == nil && node.Unmap() == a.To.Addr(), err
	case wire.ReturnPathType:
		wants, err := wire.ReturnPathWantsReply(t.Value)
		if err == nil && !wants {
			return false, errUnwanted
		}
		return false, err // no path is followed but the one it came by
	}
	return false, nil
}

func (r *reflection) answerLocation(v []byte, a arrival) error {
	l, err := wire.ParseLocation(v)
	if err != nil {
		return err
	}
	l.Answer(a.From, a.To)
	return rewrite(v, l.AppendBinary)
}

func (r *reflection) answerTimestampInfo(v []byte, a arrival) error {
	if _, err := wire.ParseTimestampInfo(v); err != nil {
		return err
	}
	source := wire.SyncFreeRunning
	if r.est != nil && r.est.Synced() {
		source = wire.SyncNTP
	}
	method := wire.SoftwareLocal
	if a.Stamp == Hardware {
		method = wire.HardwareAssist
	}
	return rewrite(v[:4], wire.TimestampInfo{SyncIn: source, MethodIn: method, SyncOut: source, MethodOut: wire.SoftwareLocal}.AppendBinary)
}

// answerClass tells the class that the request came with and gives the reply
// the one it asks for.
func (r *reflection) answerClass(v []byte, a arrival) error {
	c, err := wire.ParseClassOfService(v)
	if err != nil {
		return err
	}
	c.Arrived, c.ECN, c.Refused = a.Class>>2, a.Class&3, 0
	r.class = c.Reply << 2
	return rewrite(v, c.AppendBinary)
}

// answerDirect tells how many packets of the session came and were answered;
// this program has no other traffic to count.
func (r *reflection) answerDirect(v []byte) error {
	d, err := wire.ParseDirectMeasurement(v)
	if err != nil {
		return err
	}
	d.ReflectorReceived, d.ReflectorTransmitted = r.seq+1, r.seq
	return rewrite(v, d.AppendBinary)
}

func (r *reflection) answerFollowUp(v []byte) error {
	if _, err := wire.ParseFollowUp(v); err != nil {
		if len(v) > 0 {
			clear(v) // RFC 8972, section 4.7: zeros, and the M flag
		}
		return err
	}
	r.follows = !r.echo
	f := r.followUp
	if r.echo {
		f = wire.FollowUp{}
	}
	return rewrite(v, f.AppendBinary)
}

// rewrite puts a value of the same length in the place of v.
func rewrite(v []byte, appendTo func([]byte) ([]byte, error)) error {
	out, err := appendTo(v[:0])
	if err == nil && len(out) != len(v) {
		err = wire.ErrMalformed
	}
	return err
}

// hmacTLV finds the HMAC TLV: where its value starts, or 0 if there is none.
// Only Extra Padding may follow it; it is misplaced otherwise.
func hmacTLV(tlvs []byte) (at int, misplaced bool) {
	for off := 0; off < len(tlvs); {
		t, rest, err := wire.ParseTLV(tlvs[off:])
		if err != nil {
			return at, misplaced
		}
		switch {
		case t.Type == wire.HMACType && at == 0 && len(t.Value) == wire.HMACLen:
			at = off + wire.TLVHeaderLen
		case t.Type == wire.HMACType, at > 0 && t.Type != wire.ExtraPaddingType:
			misplaced = true
		}
		off = len(tlvs) - len(rest)
	}
	return at, misplaced
}

// intact checks the HMAC TLV of a request, if we have a key for it. In
// authenticated mode it must be there as soon as there is anything but padding.
func (r *reflection) intact(tlvs []byte, seq uint32) bool {
	if r.stamp == nil {
		return true
	}
	at, misplaced := hmacTLV(tlvs)
	switch {
	case misplaced:
		return false
	case at == 0:
		return !r.layout.Keyed || onlyPadding(tlvs)
	}
	return r.stamp.CheckTLVs(seq, tlvs[:at-wire.TLVHeaderLen], wire.HMAC(tlvs[at:])) == nil
}

// signTLVs writes our own HMAC into the HMAC TLV of a reply. Without a key the
// TLV goes back as unrecognized.
func (r *reflection) signTLVs(reply []byte) {
	tlvs := reply[r.layout.ReplyLen():]
	at, misplaced := hmacTLV(tlvs)
	if at == 0 || misplaced {
		return
	}
	header := at - wire.TLVHeaderLen
	if r.stamp == nil {
		tlvs[header] |= byte(wire.Unrecognized)
		return
	}
	sum := r.stamp.SumTLVs(binary.BigEndian.Uint32(reply), tlvs[:header])
	copy(tlvs[at:], sum[:])
}

func onlyPadding(tlvs []byte) bool {
	for len(tlvs) > 0 {
		t, rest, err := wire.ParseTLV(tlvs)
		if err != nil || t.Type != wire.ExtraPaddingType {
			return false
		}
		tlvs = rest
	}
	return true
}

func flagAll(tlvs []byte, f wire.TLVFlags) {
	for len(tlvs) > 0 {
		_, rest, err := wire.ParseTLV(tlvs)
		if err != nil {
			return
		}
		tlvs[0] |= byte(f)
		tlvs = rest
	}
}
