package natpmp_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
)

// slowGateway answers each request 30 ms after it came, several at once.
func slowGateway() *pipeGateway {
	return &pipeGateway{answer: func(send func([]byte), packet []byte) {
		go func() {
			time.Sleep(30 * time.Millisecond)
			respond(send, packet)
		}()
	}}
}

// TestClientWindow: a hundred requests take as many rounds as the window dictates, which
// opens while replies come in time: 16, 32 and 52 of them.
func TestClientWindow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		window int
		want   time.Duration
	}{
		{window: 1, want: 100 * 30 * time.Millisecond},
		{window: 0, want: 3 * 30 * time.Millisecond}, // 16 at first
		{window: 100, want: 30 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.window), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := slowGateway()
				c := startClient(t, g, natpmp.ClientConfig{Window: tt.window})
				var wg sync.WaitGroup
				for i := range 100 {
					wg.Go(func() {
						r := mapTCP()
						r.InternalPort += uint16(i)
						if _, err := c.Map(t.Context(), r); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if d := time.Since(g.start); d != tt.want {
					t.Errorf("took %v, want %v", d, tt.want)
				}
				if n := c.Stats().Sent; n != 100 {
					t.Errorf("%d packets, want 100", n)
				}
			})
		})
	}
}

// TestClientOneRequestPerMapping: the gateway sees no second request for a
// mapping while it works on one, and other mappings do not wait for that.
func TestClientOneRequestPerMapping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var working, most atomic.Int64
		g := &pipeGateway{answer: func(send func([]byte), packet []byte) {
			if packet[1] == byte(natpmp.OpMapTCP) {
				most.Store(max(most.Load(), working.Add(1)))
			}
			go func() {
				time.Sleep(100 * time.Millisecond)
				if packet[1] == byte(natpmp.OpMapTCP) {
					working.Add(-1)
				}
				respond(send, packet)
			}()
		}}
		c := startClient(t, g, natpmp.ClientConfig{Window: 3})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { _, _ = c.Map(t.Context(), mapTCP()) })
		}
		synctest.Wait()
		r := mapTCP()
		r.Opcode = natpmp.OpMapUDP
		if _, err := c.Map(t.Context(), r); err != nil {
			t.Error(err)
		}
		if d := time.Since(g.start); d != 100*time.Millisecond {
			t.Errorf("the other mapping took %v, want 100ms", d)
		}
		wg.Wait()
		if d := time.Since(g.start); d != 500*time.Millisecond || most.Load() != 1 {
			t.Errorf("five requests for one mapping took %v, %d at once", d, most.Load())
		}
	})
}

// TestClientPriority: renewals go before creates that came earlier, in their order.
func TestClientPriority(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := slowGateway()
		c := startClient(t, g, natpmp.ClientConfig{Window: 1})
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				r := natpmp.MapRequest{Opcode: natpmp.OpMapUDP, InternalPort: uint16(i + 1), Lifetime: 1, Renewal: i >= 4}
				if _, err := c.Map(t.Context(), r); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		var order []byte
		for _, s := range g.sightings() {
			order = append(order, unhex(t, s.Packet)[5])
		}
		if diff := cmp.Diff([]byte{1, 5, 6, 2, 3, 4}, order); diff != "" {
			t.Errorf("internal ports in the order of their packets (-want +got):\n%s", diff)
		}
	})
}

// TestClientLeavesTheQueue: those who gave up take no place.
func TestClientLeavesTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := slowGateway()
		c := startClient(t, g, natpmp.ClientConfig{Window: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				r := natpmp.MapRequest{Opcode: natpmp.OpMapUDP, InternalPort: uint16(i + 1), Lifetime: 1, Renewal: i%2 == 0}
				if _, err := c.Map(ctx, r); err == nil {
					t.Error("an answer came after 20 ms")
				}
			})
		}
		wg.Wait()
		if _, err := c.Map(t.Context(), mapTCP()); err != nil {
			t.Error(err)
		}
		if n := len(g.sightings()); n != 2 {
			t.Errorf("%d packets, want 2", n)
		}
	})
}
