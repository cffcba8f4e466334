package softhsmtest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace of the test's own: a host for itself, with
// its own 127.0.0.1. The nil namespace is the one that the test runs in.
type namespace struct{ name string }

// newNamespace makes one. It takes root.
func newNamespace(t *testing.T, role string) *namespace {
	t.Helper()
	n := &namespace{fmt.Sprintf("latchkey-%s-%d", role, os.Getpid())}
	var here *namespace
	here.ip(t, "netns", "add", n.name)
	t.Cleanup(func() { _ = exec.CommandContext(context.Background(), "ip", "netns", "delete", n.name).Run() }) // which ends with the machine at the latest
	n.ip(t, "link", "set", "lo", "up")
	return n
}

// connect joins two namespaces by a cable, and gives each end an address.
func connect(t *testing.T, a *namespace, addressA string, b *namespace, addressB string) {
	t.Helper()
	var here *namespace
	here.ip(t, "link", "add", "cable", "netns", a.name, "type", "veth", "peer", "name", "cable", "netns", b.name)
	for n, address := range map[*namespace]string{a: addressA, b: addressB} {
		n.ip(t, "address", "add", address, "dev", "cable")
		n.ip(t, "link", "set", "cable", "up")
	}
}

// cable cuts the cable at this end, or mends it.
func (n *namespace) cable(t *testing.T, state string) {
	t.Helper()
	n.ip(t, "link", "set", "cable", state)
}

// ip runs ip in the namespace. Its own option -n would change mounts too, which not
// every place lets it.
func (n *namespace) ip(t *testing.T, args ...string) {
	t.Helper()
	var out []byte
	err := n.inside(func() (err error) {
		out, err = exec.CommandContext(t.Context(), "ip", args...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}

// inside runs f in the namespace: sockets that it opens and processes that it
// starts are there for good.
func (n *namespace) inside(f func() error) (err error) {
	if n == nil {
		return f()
	}
	runtime.LockOSThread()
	here, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	there, err := unix.Open("/run/netns/"+n.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errors.Join(err, unix.Close(here))
	}
	defer func() {
		back := unix.Setns(here, unix.CLONE_NEWNET)
		err = errors.Join(err, back, unix.Close(here), unix.Close(there))
		if back == nil {
			runtime.UnlockOSThread() // else the thread ends with its goroutine
		}
	}()
	if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
		return err
	}
	return f()
}

func (n *namespace) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = n.inside(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}
