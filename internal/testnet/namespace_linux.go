package testnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// NeedNamespaces skips the test where network namespaces cannot be made, and
// says why.
func NeedNamespaces(t testing.TB) {
	t.Helper()
	if err := canMakeNamespaces(); err != nil {
		t.Skipf("needs network namespaces, so root on Linux: %v", err)
	}
}

var canMakeNamespaces = sync.OnceValue(func() error {
	ns, err := makeNamespace()
	if err != nil {
		return err
	}
	return ns.close()
})

// A Namespace is a network namespace: interfaces, routes, rules and ports of its
// own. It has no name in the file system and ends with its last user, so even a
// test that is killed leaves nothing behind. At first it has only lo, which is up.
//
// A socket belongs to the namespace it was opened in for all its life, whichever
// goroutine uses it. DialContext, Listen and ListenPacket open sockets like those
// of package net; for all else there is Do.
type Namespace struct {
	handle netns.NsHandle
	kernel *netlink.Handle
}

// NewNamespace makes a namespace that ends with the test, or skips the test: see
// NeedNamespaces.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	NeedNamespaces(t)
	ns, err := makeNamespace()
	if err != nil {
		t.Fatalf("testnet: %v", err)
	}
	t.Cleanup(func() {
		if err := ns.close(); err != nil {
			t.Errorf("testnet: %v", err)
		}
	})
	return ns
}

func makeNamespace() (*Namespace, error) {
	handle, err := unshare()
	if err != nil {
		return nil, fmt.Errorf("make a namespace: %w", err)
	}
	ns := &Namespace{handle: handle}
	if ns.kernel, err = netlink.NewHandleAt(handle); err != nil {
		handle.Close()
		return nil, fmt.Errorf("reach a new namespace: %w", err)
	}
	if err := ns.prepare(); err != nil {
		return nil, errors.Join(err, ns.close())
	}
	return ns, nil
}

// unshare makes a namespace and leaves the thread in the one where it was.
func unshare() (netns.NsHandle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		return netns.None(), err
	}
	defer home.Close()
	handle, err := netns.New()
	if err != nil {
		return netns.None(), err
	}
	comeHome(home)
	return handle, nil
}

// comeHome puts the thread back. If that fails the thread must not be used by
// anybody any more, nor can it be kept from others by a package: the program ends.
func comeHome(home netns.NsHandle) {
	if err := netns.Set(home); err != nil {
		panic(fmt.Sprintf("testnet: cannot leave a namespace: %v", err))
	}
}

// prepare makes addresses usable at once: without duplicate address detection,
// which takes a second for IPv6.
func (ns *Namespace) prepare() error {
	for _, key := range []string{"net.ipv6.conf.all.accept_dad", "net.ipv6.conf.default.accept_dad"} {
		if err := ns.sysctl(key, "0"); err != nil {
			return err
		}
	}
	return ns.up("lo")
}

func (ns *Namespace) close() error {
	ns.kernel.Close()
	if err := ns.handle.Close(); err != nil {
		return fmt.Errorf("end a namespace: %w", err)
	}
	return nil
}

// Do calls f with its thread inside the namespace. Sockets and processes that f
// starts itself belong there; goroutines that it starts are outside again. f may
// end the test with t.Fatal.
func (ns *Namespace) Do(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		panic(fmt.Sprintf("testnet: which namespace is this: %v", err))
	}
	defer home.Close()
	if err := netns.Set(ns.handle); err != nil {
		panic(fmt.Sprintf("testnet: cannot enter a namespace, has its test ended? %v", err))
	}
	defer comeHome(home)
	f()
}

// DialContext is that of net.Dialer, inside the namespace. The address is in
// figures: names are resolved elsewhere.
func (ns *Namespace) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	ns.Do(func() { c, err = new(net.Dialer).DialContext(ctx, network, address) })
	return c, err
}

// Listen is that of net.ListenConfig, inside the namespace.
func (ns *Namespace) Listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	ns.Do(func() { l, err = new(net.ListenConfig).Listen(ctx, network, address) })
	return l, err
}

// ListenPacket is that of net.ListenConfig, inside the namespace.
func (ns *Namespace) ListenPacket(ctx context.Context, network, address string) (c net.PacketConn, err error) {
	ns.Do(func() { c, err = new(net.ListenConfig).ListenPacket(ctx, network, address) })
	return c, err
}

// Start starts cmd inside the namespace. When the test ends, cmd is killed if
// need be and waited for; a test that waits for it itself has done so by then.
func (ns *Namespace) Start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	var err error
	ns.Do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatalf("testnet: start %s: %v", filepath.Base(cmd.Path), err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState != nil {
			return
		}
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("testnet: end %s: %v", filepath.Base(cmd.Path), err)
		}
		cmd.Wait() // says that it was killed
	})
}

// sysctl sets a key such as net.ipv4.ip_forward.
func (ns *Namespace) sysctl(key, value string) (err error) {
	path := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
	ns.Do(func() { err = os.WriteFile(path, []byte(value), 0) })
	if err != nil {
		return fmt.Errorf("set %s to %s: %w", key, value, err)
	}
	return nil
}

// up sets an interface up.
func (ns *Namespace) up(name string) error {
	link, err := ns.kernel.LinkByName(name)
	if err == nil {
		err = ns.kernel.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set the interface %s up: %w", name, err)
	}
	return nil
}
