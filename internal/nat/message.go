package nat

import (
	"net/netip"

	"github.com/pion/stun/v3"
)

// The bits of CHANGE-REQUEST: RFC 5780, section 7.2.
const (
	changeAddress = 4
	changePort    = 2
)

// requestSize is what our requests are padded to, so that an answer with all
// addresses, of IPv6 too, is not longer: no server of ours sends more than it got.
const requestSize = 104

// request makes a Binding request. change is sent only if it is not 0.
func request(id [stun.TransactionIDSize]byte, change byte) ([]byte, error) {
	m, err := stun.Build(stun.NewTransactionIDSetter(id), stun.BindingRequest)
	if err != nil {
		return nil, err
	}
	if change != 0 {
		m.Add(stun.AttrChangeRequest, []byte{0, 0, 0, change})
	}
	m.Add(stun.AttrPadding, make([]byte, requestSize-len(m.Raw)-4))
	m.Encode()
	return m.Raw, nil
}

// A dialback asks the server to answer to another port of the address that the
// request comes from, from a socket of its own that we have not sent to (RFC
// 5780, section 7.5). RESPONSE-PORT excludes PADDING, so SOFTWARE makes the
// request as long as the answer.
func dialback(id [stun.TransactionIDSize]byte, change byte, port uint16) ([]byte, error) {
	m, err := stun.Build(stun.NewTransactionIDSetter(id), stun.BindingRequest, stun.NewSoftware("sonde nat"))
	if err != nil {
		return nil, err
	}
	m.Add(stun.AttrChangeRequest, []byte{0, 0, 0, change})
	m.Add(stun.AttrResponsePort, []byte{byte(port >> 8), byte(port), 0, 0})
	m.Encode()
	return m.Raw, nil
}

// responsePortOf is the RESPONSE-PORT of a request; false if it has none.
func responsePortOf(m *stun.Message) (uint16, bool) {
	v, err := m.Get(stun.AttrResponsePort)
	if err != nil || len(v) < 2 {
		return 0, false
	}
	return uint16(v[0])<<8 | uint16(v[1]), true
}

// parse reads a message. It must be a whole datagram.
func parse(datagram []byte) (*stun.Message, error) {
	m := &stun.Message{Raw: append([]byte(nil), datagram...)}
	return m, m.Decode()
}

// changeOf is the CHANGE-REQUEST of a request, 0 if it has none.
func changeOf(m *stun.Message) byte {
	v, err := m.Get(stun.AttrChangeRequest)
	if err != nil || len(v) != 4 {
		return 0
	}
	return v[3] & (changeAddress | changePort)
}

// reflexiveOf is where the server saw the request come from.
func reflexiveOf(m *stun.Message) (netip.AddrPort, bool) {
	var x stun.XORMappedAddress
	if err := x.GetFrom(m); err == nil {
		return addrPort(x.IP, x.Port)
	}
	var old stun.MappedAddress // of servers from before RFC 5389
	if err := old.GetFrom(m); err == nil {
		return addrPort(old.IP, old.Port)
	}
	return netip.AddrPort{}, false
}

// otherOf is the server's other address and port.
func otherOf(m *stun.Message) (netip.AddrPort, bool) {
	var o stun.OtherAddress
	if err := o.GetFrom(m); err != nil {
		return netip.AddrPort{}, false
	}
	return addrPort(o.IP, o.Port)
}

func addrPort(ip []byte, port int) (netip.AddrPort, bool) {
	a, ok := netip.AddrFromSlice(ip)
	if !ok || port < 0 || port > 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port)), true
}
