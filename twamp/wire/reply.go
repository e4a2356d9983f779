package wire

import "encoding/binary"

// A Reply is a test packet from a Session-Reflector, without its padding.
//
//	              len  short  keyed
//	Seq             4      0      0
//	Sent            8      4     16
//	Error           2     12     24
//	SSID            2     14     26  STAMP only
//	Received        8     16     32
//	SenderSeq       4     24     48
//	SenderSent      8     28     64
//	SenderError     2     36     72
//	SenderTTL       1     40     80
//	TrafficClass    1     41     81  RFC 7750 only
//	HMAC           16      -     96
//
// What lies between is zero. Short and keyed are as for Request.
//
// Source: RFC 5357, section 4.2.1; RFC 7750, section 2.2; RFC 8762, section 4.3.
type Reply struct {
	Seq          uint32    // the reflector's own counter, or a copy of SenderSeq
	Sent         Timestamp // T3, in the format that Error says
	Error        ErrorEstimate
	SSID         uint16    // as in the request
	Received     Timestamp // T2, in the format that Error says
	SenderSeq    uint32
	SenderSent   Timestamp // T1 as in the request, in the format that SenderError says
	SenderError  ErrorEstimate
	SenderTTL    uint8 // TTL or hop limit the request came with; 0 means not told
	TrafficClass uint8 // the octet the request came with: DSCP, and ECN in the low two bits
	HMAC         HMAC
}

// ParseReply reads a Reply from the front of b and ignores what follows. A short
// reply may end anywhere after LeastReplyLen: what it lacks is zero. It
// allocates nothing.
func ParseReply(b []byte, l Layout) (Reply, error) {
	if l.Keyed {
		return parseKeyedReply(b, l)
	}
	if len(b) < LeastReplyLen {
		return Reply{}, errShortReply
	}
	r := Reply{
		Seq:        binary.BigEndian.Uint32(b),
		Sent:       Timestamp(binary.BigEndian.Uint64(b[4:])),
		Error:      ErrorEstimate(binary.BigEndian.Uint16(b[12:])),
		Received:   Timestamp(binary.BigEndian.Uint64(b[16:])),
		SenderSeq:  binary.BigEndian.Uint32(b[24:]),
		SenderSent: Timestamp(binary.BigEndian.Uint64(b[28:])),
	}
	if l.STAMP {
		r.SSID = binary.BigEndian.Uint16(b[14:])
	}
	if len(b) >= 38 {
		r.SenderError = ErrorEstimate(binary.BigEndian.Uint16(b[36:]))
	}
	if len(b) > 40 {
		r.SenderTTL = b[40]
	}
	if l.TrafficClass && len(b) > 41 {
		r.TrafficClass = b[41]
	}
	return r, nil
}

func parseKeyedReply(b []byte, l Layout) (Reply, error) {
	if len(b) < KeyedReplyLen {
		return Reply{}, errShortReply
	}
	r := Reply{
		Seq:         binary.BigEndian.Uint32(b),
		Sent:        Timestamp(binary.BigEndian.Uint64(b[16:])),
		Error:       ErrorEstimate(binary.BigEndian.Uint16(b[24:])),
		Received:    Timestamp(binary.BigEndian.Uint64(b[32:])),
		SenderSeq:   binary.BigEndian.Uint32(b[48:]),
		SenderSent:  Timestamp(binary.BigEndian.Uint64(b[64:])),
		SenderError: ErrorEstimate(binary.BigEndian.Uint16(b[72:])),
		SenderTTL:   b[80],
		HMAC:        HMAC(b[96:]),
	}
	if l.STAMP {
		r.SSID = binary.BigEndian.Uint16(b[26:])
	}
	if l.TrafficClass {
		r.TrafficClass = b[81]
	}
	return r, nil
}

// PutReplySent writes T3 into a reply that is otherwise complete.
func PutReplySent(b []byte, l Layout, sent Timestamp) {
	at := 4
	if l.Keyed {
		at = 16
	}
	binary.BigEndian.PutUint64(b[at:], uint64(sent))
}

// Append appends the l.ReplyLen() octets of r to b; the padding is to follow.
func (r Reply) Append(b []byte, l Layout) []byte {
	if l.Keyed {
		return r.appendKeyed(b, l)
	}
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, r.Seq)
	b = appendStamp(b, r.Sent, r.Error, r.SSID, l)
	b = append(b, zeros[:start+16-len(b)]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Received))
	b = binary.BigEndian.AppendUint32(b, r.SenderSeq)
	b = appendStamp(b, r.SenderSent, r.SenderError, 0, Layout{})
	b = append(b, 0, 0, r.SenderTTL)
	if l.TrafficClass {
		b = append(b, r.TrafficClass)
	}
	return append(b, zeros[:start+l.ReplyLen()-len(b)]...)
}

func (r Reply) appendKeyed(b []byte, l Layout) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, r.Seq)
	b = append(b, zeros[:12]...)
	b = appendStamp(b, r.Sent, r.Error, r.SSID, l)
	b = append(b, zeros[:start+32-len(b)]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Received))
	b = append(b, zeros[:8]...)
	b = binary.BigEndian.AppendUint32(b, r.SenderSeq)
	b = append(b, zeros[:12]...)
	b = appendStamp(b, r.SenderSent, r.SenderError, 0, Layout{})
	b = append(b, zeros[:6]...)
	b = append(b, r.SenderTTL)
	if l.TrafficClass {
		b = append(b, r.TrafficClass)
	}
	b = append(b, zeros[:start+96-len(b)]...)
	return append(b, r.HMAC[:]...)
}
