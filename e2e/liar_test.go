//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
)

// startLiar puts a server into doublenat's place that answers success to
// everything and does nothing.
func startLiar(ctx context.Context, t *testing.T, ns *namespace) {
	t.Helper()
	conn, err := ns.listenUDP(ctx, netip.MustParseAddrPort("0.0.0.0:5351"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1100)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			// UDP: an answer that cannot be sent is lost.
			_, _ = conn.WriteTo(lie(buf[:n]), from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close() // ends the loop
		<-done
	})
}

// lie returns the answer that a client hopes for, or that lets it fall back to
// NAT-PMP; nil for none.
func lie(packet []byte) []byte {
	const epoch = 9
	if req, err := pcp.ParseRequest(packet); err == nil && req.Options.Filtered > 0 {
		lifetime := time.Duration(req.Lifetime) * time.Second
		return pcp.NewResponse(req, epoch, netip.MustParseAddr(publicAddress), req.Map.InternalPort, lifetime).Append(nil)
	}
	if len(packet) >= 2 && packet[0] != 0 {
		return natpmp.AppendVersionError(nil, natpmp.Opcode(packet[1]), epoch)
	}
	request, err := natpmp.ParseRequest(packet)
	if err != nil {
		return nil
	}
	response := natpmp.Response{Opcode: request.Opcode, Epoch: epoch}
	switch {
	case request.Opcode == natpmp.OpExternalAddress:
		response.Address = netip.MustParseAddr(publicAddress)
	case request.Lifetime > 0:
		response.ExternalPort, response.Lifetime = request.InternalPort, request.Lifetime
		fallthrough
	default:
		response.InternalPort = request.InternalPort
	}
	return response.Append(nil)
}

// TestFlowsNoticeALiar runs every flow without doublenat. Each has to notice that
// what it was promised is not so.
func TestFlowsNoticeALiar(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	for _, f := range flows() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			ctx, w := newWorld(t, f.site)
			ctx, cancel := context.WithTimeout(ctx, flowTimeout)
			defer cancel()
			startLiar(ctx, t, w.box)
			err := f.run(ctx, w)
			if promise := (*promiseError)(nil); !errors.As(err, &promise) {
				t.Errorf("the flow ends with %v, want a broken promise", err)
			}
		})
	}
}

// TestExpiryNoticesAnEarlyEnd has the gateway end a lease after three fifths of its time:
// by then doublenat has asked it ahead of the client, if it found it to be slow, and asks no
// more.
func TestExpiryNoticesAnEarlyEnd(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	ctx, w := newWorld(t, site{gateway: withProfile(natpmptest.RFC())})
	ctx, cancel := context.WithTimeout(ctx, flowTimeout)
	defer cancel()
	if err := w.open(ctx); err != nil {
		t.Fatal(err)
	}
	cut := make(chan error, 1)
	go func() {
		err := eventually(ctx, patience, func() error { return w.layers(ctx, 1) })
		pause(ctx, expiringLifetime*3/5)
		cut <- errors.Join(err, w.gateway.restart(ctx))
	}()
	err := expiryCloses(ctx, w)
	if err := <-cut; err != nil {
		t.Fatal(err)
	}
	if promise := (*promiseError)(nil); !errors.As(err, &promise) {
		t.Errorf("the flow ends with %v, want a broken promise", err)
	}
}
