package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A network is where a pair of processes meets: loopback, or two namespaces
// that are joined by a veth pair of MTU 1500.
type network struct {
	name             string
	addr             netip.Addr // of the receiver
	receiver, sender netns.NsHandle
}

func openNetwork(name string) (*network, error) {
	switch name {
	case "lo":
		return &network{name: name, addr: netip.MustParseAddr("127.0.0.1"), receiver: -1, sender: -1}, nil
	case "veth":
		return openVeth()
	}
	return nil, fmt.Errorf("%q is neither lo nor veth", name)
}

// openVeth makes two namespaces without names: they vanish with their last
// process and this program.
func openVeth() (*network, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer home.Close()
	defer netns.Set(home)
	n := &network{name: "veth", addr: netip.MustParseAddr("10.99.0.2"), receiver: -1, sender: -1}
	if n.receiver, err = netns.New(); err != nil {
		return nil, fmt.Errorf("a namespace (needs root): %w", err)
	}
	if n.sender, err = netns.New(); err != nil {
		n.close()
		return nil, err
	}
	if err := n.join(); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
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

func address(link, cidr string) error {
	for _, name := range []string{"lo", link} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
		if name == link {
			ip, ipnet, err := net.ParseCIDR(cidr)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: ipnet.Mask}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *network) close() {
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
