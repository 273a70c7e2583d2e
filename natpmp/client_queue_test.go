package natpmp_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// busyGateway is one that does one thing after the other. It returns the
// client's way to it.
func busyGateway(t *testing.T, each time.Duration) func(context.Context) (net.Conn, error) {
	t.Helper()
	profile := natpmptest.RFC()
	profile.ServiceTime = each
	gateway, err := natpmptest.New(natpmptest.Config{Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	network := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
	at := netip.MustParseAddrPort("10.2.0.1:5351")
	conn, err := network.Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- gateway.Serve(ctx, conn) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(context.Context) (net.Conn, error) {
		return network.Dial(netip.MustParseAddrPort("10.2.0.2:0"), at)
	}
}

// TestClientPatientWithAQueue: a gateway that does one thing after the other gets
// each request once, however many there are.
func TestClientPatientWithAQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// No answer comes at the very instant of a repetition.
		const requests, each = 48, 90 * time.Millisecond
		c := startClient(t, &pipeGateway{}, natpmp.ClientConfig{Dial: busyGateway(t, each)})
		start := time.Now()
		var wg sync.WaitGroup
		for i := range requests {
			wg.Go(func() {
				r := mapTCP()
				r.InternalPort += uint16(i)
				if _, err := c.Map(t.Context(), r); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d != requests*each {
			t.Errorf("took %v, want %v", d, requests*each)
		}
		if n := c.Stats().Sent; n != requests {
			t.Errorf("%d packets, want %d", n, requests)
		}
	})
}

// forgetful is a connection that loses the first request for a TCP mapping.
type forgetful struct {
	net.Conn

	lost *atomic.Bool
}

// Write sends a packet, or loses it.
func (f forgetful) Write(p []byte) (int, error) {
	if p[1] == byte(natpmp.OpMapTCP) && !f.lost.Swap(true) {
		return len(p), nil
	}
	return f.Conn.Write(p)
}

// TestClientRepeatsInACrowd: a packet that was lost is sent again although the
// gateway answers others all the time.
func TestClientRepeatsInACrowd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lost atomic.Bool
		dial := busyGateway(t, 20*time.Millisecond)
		c := startClient(t, &pipeGateway{}, natpmp.ClientConfig{Window: 4, Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := dial(ctx)
			return forgetful{Conn: conn, lost: &lost}, err
		}})
		start, done := time.Now(), make(chan struct{})
		var crowd sync.WaitGroup
		for i := range 3 {
			crowd.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					r := natpmp.MapRequest{Opcode: natpmp.OpMapUDP, InternalPort: uint16(i + 1), Lifetime: 60}
					if _, err := c.Map(t.Context(), r); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		synctest.Wait()
		if _, err := c.Map(t.Context(), mapTCP()); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); !lost.Load() || d > 400*time.Millisecond {
			t.Errorf("took %v, want no more than 400ms", d)
		}
		close(done)
		crowd.Wait()
	})
}

// TestClientRepeatsAmongStrays: packets that answer nothing, which anybody can send
// in the gateway's name, do not keep a lost request from being sent again.
func TestClientRepeatsAmongStrays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		g := &pipeGateway{answer: func(send func([]byte), packet []byte) {
			if asked++; asked > 1 { // the first one got lost
				respond(send, packet)
			}
		}}
		c := startClient(t, g, natpmp.ClientConfig{})
		synctest.Wait()
		over := make(chan struct{})
		var noise sync.WaitGroup
		noise.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(50 * time.Millisecond):
					g.send(granted(natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 9, Lifetime: 60}).Append(nil))
				}
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.Map(ctx, mapTCP()); err != nil || time.Since(start) > time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		close(over)
		noise.Wait()
	})
}
