package wire

// A Layout says where the fields of a session's test packets lie. The zero
// Layout is that of TWAMP Light and of TWAMP without features.
type Layout struct {
	Keyed        bool // the long layout with an HMAC: modes 2 and 4, authenticated STAMP
	STAMP        bool // RFC 8762: request and reply have the same fixed size, and an SSID
	Symmetrical  bool // RFC 6038: the request's padding is preceded by zeros
	TrafficClass bool // RFC 7750: the reply tells the request's DSCP and ECN
}

// Layout returns the layout that a session of mode m uses.
func (m Mode) Layout() Layout {
	return Layout{
		Keyed:        m.TestKeyed(),
		Symmetrical:  m.Has(Symmetrical),
		TrafficClass: m.Has(TrafficClass),
	}
}

// Sizes of the fixed parts of test packets, octets. RFC 5357 speaks of 104
// instead of 112 in places; erratum 5045 corrects it.
const (
	ShortRequestLen      = 14
	KeyedRequestLen      = 48
	ShortReplyLen        = 41
	TrafficClassReplyLen = 44
	KeyedReplyLen        = 112
	StampLen             = 44  // both ways
	KeyedStampLen        = 112 // both ways

	// LeastReplyLen is the shortest reply without an HMAC that can be used: all
	// up to the Sender Timestamp. nokia/twampy 1.3.2 sends 38 octets.
	LeastReplyLen = 36

	// MaxPacketLen is the longest payload of a UDP datagram over IPv4.
	MaxPacketLen = 65507
)

// RequestLen returns the size of a request without padding, and so where the
// padding starts.
func (l Layout) RequestLen() int {
	switch {
	case l.STAMP && l.Keyed:
		return KeyedStampLen
	case l.STAMP:
		return StampLen
	case l.Symmetrical && l.Keyed:
		return KeyedRequestLen + 64
	case l.Symmetrical && l.TrafficClass:
		return ShortRequestLen + 28
	case l.Symmetrical:
		return ShortRequestLen + 27
	case l.Keyed:
		return KeyedRequestLen
	}
	return ShortRequestLen
}

// ReplyLen returns the size of a reply without padding, and so where the
// padding starts.
func (l Layout) ReplyLen() int {
	switch {
	case l.Keyed:
		return KeyedReplyLen // as long as that of STAMP
	case l.STAMP:
		return StampLen
	case l.TrafficClass:
		return TrafficClassReplyLen
	}
	return ShortReplyLen
}

// SymmetricPadding returns the least padding with which requests are as long as
// their replies.
func (l Layout) SymmetricPadding() int { return max(0, l.ReplyLen()-l.RequestLen()) }

// hmacAt returns where the HMAC of a keyed request lies.
func (l Layout) hmacAt() int {
	if l.STAMP {
		return KeyedStampLen - HMACLen
	}
	return KeyedRequestLen - HMACLen
}
