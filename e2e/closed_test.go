//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
)

// TestUnreachable asks for ports of which it is known what is there.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	here := netip.MustParseAddr("127.0.0.1")
	elsewhere := netip.MustParseAddr("192.0.2.1") // to which there is no route
	everything := []string{"tcp", "udp"}
	ctx := context.WithoutCancel(t.Context()) // for what the cleanups need
	space := namespaceFor(ctx, t, "closed", "all")
	caller := &internet{namespace: space, addr: here}
	alice := &host{namespace: space, addr: here}
	bob := &host{namespace: &namespace{name: "bob", fd: space.fd}, addr: here}
	for _, protocol := range everything {
		alice.serve(ctx, t, protocol, 1)
		bob.serve(ctx, t, protocol, 2)
	}
	// Port 3 is mute: TCP is accepted by the kernel, and UDP is swallowed.
	ln, err := alice.listenTCP(ctx, netip.AddrPortFrom(here, 3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() }) // nothing was accepted
	conn, err := alice.listenUDP(ctx, netip.AddrPortFrom(here, 3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // nothing was sent
	for _, test := range []struct {
		name      string
		protocols []string
		at        netip.AddrPort
		closed    bool
	}{
		{"nobody", everything, netip.AddrPortFrom(here, 4), true},
		{"mute", []string{"udp"}, netip.AddrPortFrom(here, 3), true},
		{"mute", []string{"tcp"}, netip.AddrPortFrom(here, 3), false},
		{"the host", everything, netip.AddrPortFrom(here, 1), false},
		{"another host", everything, netip.AddrPortFrom(here, 2), false},
		{"no way to ask", everything, netip.AddrPortFrom(elsewhere, 4), false},
	} {
		for _, protocol := range test.protocols {
			t.Run(test.name+" "+protocol, func(t *testing.T) {
				t.Parallel()
				err := caller.unreachable(ctx, protocol, test.at)
				if closed := err == nil; closed != test.closed {
					t.Errorf("closed is %t (%v), want %t", closed, err, test.closed)
				}
			})
		}
	}
	t.Run("no time to ask", func(t *testing.T) {
		t.Parallel()
		ended, end := context.WithCancel(ctx)
		end()
		if err := caller.unreachable(ended, "tcp", netip.AddrPortFrom(here, 4)); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want %v", err, context.Canceled)
		}
	})
}
