package natpmp_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp"
)

// roundTrip is how long the gateways of these tests take for a reply.
const roundTrip = 30 * time.Millisecond

// narrowGateway answers each request after a round trip, and drops those that come while
// it is at work on so many.
type narrowGateway struct {
	pipeGateway

	room             int64
	working, dropped atomic.Int64
	// most is the most requests that it had at once, dropped ones included.
	most atomic.Int64
}

// newNarrowGateway returns one with room for so many requests.
func newNarrowGateway(room int64) *narrowGateway {
	g := &narrowGateway{room: room}
	g.answer = func(send func([]byte), packet []byte) {
		now := g.working.Add(1)
		g.most.Store(max(g.most.Load(), now))
		if now > g.room {
			g.working.Add(-1)
			g.dropped.Add(1)
			return
		}
		go func() {
			time.Sleep(roundTrip)
			g.working.Add(-1)
			respond(send, packet)
		}()
	}
	return g
}

// crowd asks for so many mappings at once and returns how long all of them took. Ports
// are those from the first one on.
func crowd(t *testing.T, c *natpmp.Client, first uint16, requests int) time.Duration {
	t.Helper()
	start := time.Now()
	var wg sync.WaitGroup
	for i := range requests {
		wg.Go(func() {
			r := mapTCP()
			r.InternalPort = first + uint16(i)
			if _, err := c.Map(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// TestWindowOpens: many requests at once take few round trips with a gateway that can
// stand them, and each goes out once.
func TestWindowOpens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newNarrowGateway(1000)
		c := startClient(t, &g.pipeGateway, natpmp.ClientConfig{})
		// 16, 32, 64, and 64 once more; with 16 all the time it would be 16 round trips.
		if took := crowd(t, c, 1, 256); took > 6*roundTrip {
			t.Errorf("took %v, want %v", took, 6*roundTrip)
		}
		if s := c.Stats(); s.Sent != 256 || g.most.Load() != 64 {
			t.Errorf("%d packets and %d of them at once, want 256 and 64", s.Sent, g.most.Load())
		}
	})
}

// TestWindowOfANarrowGateway: with one that drops what is too much for it, no more than
// what one round too many cost is lost, all requests are answered, and it is not tried
// again at once.
func TestWindowOfANarrowGateway(t *testing.T) {
	t.Parallel()
	for _, room := range []int64{32, 20, 8, 3} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newNarrowGateway(room)
				c := startClient(t, &g.pipeGateway, natpmp.ClientConfig{})
				took := crowd(t, c, 1, 256)
				least := time.Duration(256/room) * roundTrip
				t.Logf("room for %d: %v, at best %v; %d dropped", room, took, least, g.dropped.Load())
				if limit := 3*least/2 + time.Second; took > limit {
					t.Errorf("took %v, want %v", took, limit)
				}
				if n := g.dropped.Load(); n > 128 {
					t.Errorf("%d requests were dropped", n)
				}
				before := g.dropped.Load()
				crowd(t, c, 1000, 256)
				if n := g.dropped.Load() - before; n > max(before/2, 32) {
					t.Errorf("%d more were dropped the second time, %d the first", n, before)
				}
			})
		})
	}
}

// TestWindowOfAQueue: a gateway that does one thing after the other gets no longer queue
// than it answers in time, so that a renewal that comes in between does not wait behind
// everybody else.
func TestWindowOfAQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const each = 30 * time.Millisecond
		c := startClient(t, &pipeGateway{}, natpmp.ClientConfig{Dial: busyGateway(t, each)})
		var wg sync.WaitGroup
		wg.Go(func() { crowd(t, c, 1, 128) })
		time.Sleep(2 * time.Second)
		r := mapTCP()
		r.InternalPort, r.Renewal = 9999, true
		start := time.Now()
		if _, err := c.Map(t.Context(), r); err != nil {
			t.Error(err)
		}
		// With 16 requests in its queue it would be half a second.
		if took := time.Since(start); took > 9*each {
			t.Errorf("the renewal took %v, want %v", took, 9*each)
		}
		wg.Wait()
		if n := c.Stats().Retransmitted; n != 0 {
			t.Errorf("%d requests were repeated that only waited", n)
		}
	})
}

// TestWindowAfterAnOutage: a gateway that was away is asked as much as before when it is
// back, and meanwhile less and less.
func TestWindowAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newNarrowGateway(1000)
		var away atomic.Bool
		answer := g.answer
		g.answer = func(send func([]byte), packet []byte) {
			if !away.Load() {
				answer(send, packet)
			}
		}
		c := startClient(t, &g.pipeGateway, natpmp.ClientConfig{})
		crowd(t, c, 1, 64)
		away.Store(true)
		var wg sync.WaitGroup
		wg.Go(func() { crowd(t, c, 1000, 256) })
		time.Sleep(20 * time.Second)
		away.Store(false)
		start := time.Now()
		if took := crowd(t, c, 2000, 64); took > time.Second {
			t.Errorf("64 requests took %v after the outage", took)
		}
		wg.Wait()
		t.Logf("all were answered %v after the outage, %d packets", time.Since(start), c.Stats().Sent)
	})
}

// TestWindowOfAFarGateway: that each reply takes long is no sign of a queue. Requests are
// repeated then, as RFC 6886 wants it, but no fewer are in flight.
func TestWindowOfAFarGateway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const far = 600 * time.Millisecond
		g := &pipeGateway{answer: func(send func([]byte), packet []byte) {
			go func() {
				time.Sleep(far)
				respond(send, packet)
			}()
		}}
		c := startClient(t, g, natpmp.ClientConfig{})
		crowd(t, c, 1, 16)
		time.Sleep(2 * time.Second)
		if took := crowd(t, c, 1000, 64); took > 4*far {
			t.Errorf("took %v, want %v", took, 4*far)
		}
		time.Sleep(far) // replies to repeated requests are on their way
	})
}

// TestWindowKeepsStrict: one request after the other stays that, however fast the
// gateway is, and whatever gets lost.
func TestWindowKeepsStrict(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newNarrowGateway(1000)
		answer, asked := g.answer, 0
		g.answer = func(send func([]byte), packet []byte) {
			if asked++; asked%5 != 0 {
				answer(send, packet)
			}
		}
		c := startClient(t, &g.pipeGateway, natpmp.ClientConfig{Window: 1})
		crowd(t, c, 1, 40)
		if n := g.most.Load(); n != 1 {
			t.Errorf("%d requests in flight, want 1", n)
		}
		seen := g.sightings()
		for i, s := range seen[:len(seen)-1] {
			if (i+1)%5 == 0 && seen[i+1].Packet != s.Packet {
				t.Errorf("after a lost request came another one, and not the same again")
			}
		}
	})
}
