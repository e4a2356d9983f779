package mesh

import (
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/mesh/wire"
)

// addressAt is the address of a client, or of its control socket, that a datagram
// came from.
func (c *client) addressAt(from netip.AddrPort) *address {
	fam := family(from.Addr())
	if c.control[fam].outside == from {
		return &c.control[fam]
	}
	return &c.at[fam]
}

// isControl reports whether an address of the client is that of its control
// socket: what comes from there tells nothing of where the client can be reached.
func (c *client) isControl(a *address) bool { return a == &c.control[0] || a == &c.control[1] }

// main is where to send what is for a client: its control socket if it has one,
// and of that the address that was heard last.
func (c *client) main() *address {
	if a := latest(&c.control); a.outside.IsValid() {
		return a
	}
	return latest(&c.at)
}

// latest is the address that was heard last.
func latest(all *[2]address) *address {
	if all[1].heard.After(all[0].heard) {
		return &all[1]
	}
	return &all[0]
}

// isControl reports whether a registration is of the control socket of a node
// that has another one for its peers. A client that only looks has one socket.
func (r *registration) isControl() bool {
	for _, record := range r.records {
		if record.Type == wire.RecordHello {
			hello, err := wire.ParseHello(record.Value)
			return err == nil && hello.Part == wire.PartControl && hello.Can&wire.IsSplit != 0
		}
	}
	return false
}

// admitControl gives a node in the table its control socket, and sends it a list
// there. The node says by its other socket that it is split, so nobody else makes
// it so; before it has said that, it has to ask again.
func (h *hub) admitControl(now time.Time, r registration) {
	c := h.clients[r.who.id]
	if c == nil || c.hello.Can&wire.IsSplit == 0 {
		h.drops[dropSource]++
		return
	}
	h.log.Info("client has a socket for servers", "client", c.at[family(r.who.at.Addr())].outside, "at", r.who.at, "id", c.id)
	h.enter(now, c, &c.control[family(r.who.at.Addr())], r)
	if !c.waits {
		c.waits = true
		h.waiting = append(h.waiting, c)
	}
}

// enter puts an address of a client into the table, in the place of the one that
// it had of the family.
func (h *hub) enter(now time.Time, c *client, a *address, r registration) {
	h.leaveAddress(a)
	*a = address{outside: r.who.at, via: r.via, heard: now, told: &r.stamp}
	h.at[r.who.at] = c
	h.sites[admit.Site(r.who.at.Addr())]++
}

// leaveAddress frees an address.
func (h *hub) leaveAddress(a *address) {
	if !a.outside.IsValid() {
		return
	}
	delete(h.at, a.outside)
	site := admit.Site(a.outside.Addr())
	if h.sites[site]--; h.sites[site] <= 0 {
		delete(h.sites, site)
	}
	*a = address{}
}

// giveWay takes what a client has at an address that another has proven to be
// its own.
func (h *hub) giveWay(c *client, at netip.AddrPort) {
	if a := c.addressAt(at); c.isControl(a) {
		h.leaveAddress(a)
		return
	}
	h.remove(c, "gave way to another at its address")
}
