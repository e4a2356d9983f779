package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A network is where a pair of processes meets: loopback, or two namespaces
// that are joined by a veth pair of MTU 1500. In namespaces of our own the routes ask
// for cubic, for programs that cannot be told; to make it the default of a namespace
// the machine would have to allow it to all.
type network struct {
	name             string
	addr             netip.Addr // of the receiver
	receiver, sender netns.NsHandle
}

func openNetwork(name string) (*network, error) {
	switch name {
	case "lo":
		return openLoopback()
	case "veth":
		return openVeth()
	}
	return nil, fmt.Errorf("%q is neither lo nor veth", name)
}

// openLoopback takes the loopback of a namespace for both ends, or without root
// that of this one.
func openLoopback() (*network, error) {
	n := &network{name: "lo", addr: netip.MustParseAddr("127.0.0.1"), receiver: -1, sender: -1}
	err := apart(func() (err error) {
		if n.receiver, err = namespace(); err != nil {
			return err
		}
		n.sender = n.receiver
		link, err := up("lo")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr("127.0.0.1/32")
		if err != nil {
			return err
		}
		return routeCubic(link, addr, unix.RTN_LOCAL, unix.RT_TABLE_LOCAL)
	})
	if errors.Is(err, os.ErrPermission) {
		fmt.Fprintln(os.Stderr, "bench: not root: what cannot be told to use cubic uses the default of this machine")
		return n, nil
	}
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func openVeth() (*network, error) {
	n := &network{name: "veth", addr: netip.MustParseAddr("10.99.0.2"), receiver: -1, sender: -1}
	err := apart(func() (err error) {
		if n.receiver, err = namespace(); err != nil {
			return err
		}
		if n.sender, err = namespace(); err != nil {
			return err
		}
		return n.join()
	})
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// apart runs f on a thread that may go to other namespaces, and comes back.
func apart(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer home.Close()
	return errors.Join(f(), netns.Set(home))
}

// namespace makes a namespace without a name, which vanishes with its last process
// and this program, and goes there.
func namespace() (netns.NsHandle, error) {
	ns, err := netns.New()
	if err != nil {
		return -1, fmt.Errorf("a namespace (needs root): %w", err)
	}
	return ns, nil
}

// routeCubic has connections over the route to an address of link, which is there
// already, use cubic.
func routeCubic(link netlink.Link, addr *netlink.Addr, kind, table int) error {
	to := &net.IPNet{IP: addr.IP.Mask(addr.Mask), Mask: addr.Mask}
	scope := netlink.SCOPE_LINK
	if kind == unix.RTN_LOCAL {
		scope = netlink.SCOPE_HOST
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: to, Src: addr.IP, Scope: scope, Type: kind, Table: table, Congctl: "cubic"}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("route to %v: %w", to, err)
	}
	return nil
}

// join lays the cable. The calling thread is in the sender's namespace.
func (n *network) join() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "bench0", 1500
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "bench1", PeerNamespace: netlink.NsFd(n.receiver)}); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	if err := address("bench0", "10.99.0.1/24"); err != nil {
		return err
	}
	if err := netns.Set(n.receiver); err != nil {
		return err
	}
	return address("bench1", "10.99.0.2/24")
}

// address gives a link an address, and sets the link and loopback up.
func address(name, cidr string) error {
	if _, err := up("lo"); err != nil {
		return err
	}
	link, err := up(name)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return err
	}
	return routeCubic(link, addr, unix.RTN_UNICAST, unix.RT_TABLE_MAIN)
}

// up sets a link up.
func up(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	return link, netlink.LinkSetUp(link)
}

func (n *network) close() {
	if n.sender == n.receiver {
		n.sender = -1
	}
	for _, h := range []*netns.NsHandle{&n.receiver, &n.sender} {
		if h.IsOpen() {
			h.Close()
		}
	}
}

// start starts c in a namespace: a process is born where its parent's thread is.
// It dies with us.
func (n *network) start(c *exec.Cmd, in netns.NsHandle) error {
	if !in.IsOpen() {
		return c.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer home.Close()
	if err := netns.Set(in); err != nil {
		return err
	}
	err = c.Start()
	if back := netns.Set(home); back != nil {
		// The thread is of no more use, and it is the main one perhaps.
		fmt.Fprintln(os.Stderr, "bench: cannot return to the first namespace:", back)
		syscall.Exit(1)
	}
	return err
}
