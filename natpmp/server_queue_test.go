package natpmp_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	wire "doublenat/internal/datagram"
	"doublenat/natpmp"
)

// slow is a handler that takes a second and notes who was served, in turn.
type slow struct {
	mu            sync.Mutex
	served        []string // guarded by mu
	working, most int      // guarded by mu
}

func (s *slow) ServeNATPMP(_ context.Context, from natpmp.Arrival, req natpmp.Request) natpmp.Reply {
	s.mu.Lock()
	s.served = append(s.served, fmt.Sprintf("%v %d", from.Client.Addr(), req.InternalPort))
	s.working++
	s.most = max(s.most, s.working)
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.working--
	return natpmp.Mapped(req.InternalPort, req.Lifetime)
}

// order returns who was served so far.
func (s *slow) order() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.served)
}

// lanHost returns a client by the last byte of its address.
func lanHost(last byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 88, last}), 40000)
}

// want sends requests for the ports from first to last.
func want(conn *memPacketConn, client netip.AddrPort, first, last uint16) {
	for port := first; port <= last; port++ {
		req := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: port, Lifetime: 60}
		conn.in <- datagram{data: req.Append(nil), addr: client}
	}
	synctest.Wait()
}

func TestServerBoundsConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := new(slow)
		s, conn := serve(t, natpmp.ServerConfig{MaxConcurrent: 3, MaxWaiting: 8, Handler: h})
		want(conn, lanHost(1), 1, 10)
		// Three are in work, and one client may have a quarter of the queue.
		if diff := cmp.Diff(natpmp.ServerStats{Received: 10, Overload: 5}, s.Stats()); diff != "" {
			t.Errorf("while busy (-want +got):\n%s", diff)
		}
		want(conn, lanHost(1), 4, 4)
		// What needs no handler is still answered.
		if diff := cmp.Diff([]string{"0080000100000000"}, ask(t, conn, []byte{2, 0})); diff != "" {
			t.Errorf("version error while busy (-want +got):\n%s", diff)
		}
		time.Sleep(3 * time.Second)
		stats := natpmp.ServerStats{Received: 12, Repeated: 1, Overload: 5, Replies: 6, VersionErrors: 1}
		if diff := cmp.Diff(stats, s.Stats()); diff != "" {
			t.Errorf("afterwards (-want +got):\n%s", diff)
		}
		if h.most != 3 {
			t.Errorf("%d requests at once, want 3", h.most)
		}
	})
}

// A client with many requests delays itself and not others.
func TestServerIsFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := new(slow)
		_, conn := serve(t, natpmp.ServerConfig{MaxConcurrent: 1, MaxWaiting: 40, Handler: h})
		want(conn, lanHost(1), 1, 5)
		want(conn, lanHost(2), 1, 1)
		want(conn, lanHost(3), 1, 2)
		want(conn, lanHost(4), 1, 1)
		time.Sleep(10 * time.Second)
		got := h.order()
		want := []string{
			"192.168.88.1 1", "192.168.88.1 2", "192.168.88.2 1", "192.168.88.3 1", "192.168.88.4 1",
			"192.168.88.1 3", "192.168.88.3 2", "192.168.88.1 4", "192.168.88.1 5",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestServerBoundsOneClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := new(slow)
		_, conn := serve(t, natpmp.ServerConfig{MaxConcurrent: 8, MaxPerClient: 2, Handler: h})
		want(conn, lanHost(1), 1, 5)
		if n := len(h.order()); n != 2 {
			t.Errorf("%d requests of one client in work, want 2", n)
		}
		want(conn, lanHost(2), 1, 1)
		if n := len(h.order()); n != 3 {
			t.Errorf("%d requests in work, want another client's too", n)
		}
		time.Sleep(5 * time.Second)
		if n := len(h.order()); n != 6 {
			t.Errorf("%d requests served, want all 6", n)
		}
	})
}

// Renewals get through however much others ask for.
func TestServerRanks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := new(slow)
		holder := lanHost(200)
		s, conn := serve(t, natpmp.ServerConfig{
			MaxConcurrent: 4, MaxWaiting: 8, Handler: h,
			Rank: func(a netip.Addr, _ natpmp.Subject) natpmp.Rank {
				if a == holder.Addr() {
					return natpmp.RankRenewal
				}
				return natpmp.RankStranger
			},
		})
		for client := range byte(30) {
			want(conn, lanHost(client+1), 1, 1)
		}
		if n := len(h.order()); n != 3 {
			t.Errorf("%d strangers' requests in work, want three quarters of 4", n)
		}
		want(conn, holder, 1, 2)
		if got := h.order()[3:]; !slices.Equal(got, []string{"192.168.88.200 1"}) {
			t.Errorf("in the place that is kept: %v", got)
		}
		time.Sleep(1500 * time.Millisecond)
		if got := h.order(); !slices.Contains(got[4:8], "192.168.88.200 2") {
			t.Errorf("the renewal waited: %v", got)
		}
		// One of the strangers' requests made room for the holder's second one.
		if got := s.Stats().Overload; got != 19 {
			t.Errorf("%d requests dropped, want 19", got)
		}
	})
}

// byPort ranks requests: ports below 1000 are renewals, those below 2000 a holder's.
func byPort(_ netip.Addr, about natpmp.Subject) natpmp.Rank {
	switch {
	case about.Port < 1000:
		return natpmp.RankRenewal
	case about.Port < 2000:
		return natpmp.RankHolder
	default:
		return natpmp.RankStranger
	}
}

// What is kept for renewals is not there for other requests, whoever asks: neither
// the work nor the places in the queue, and what is in work of the client itself.
func TestServerKeepsWorkForRenewals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := new(slow)
		s, conn := serve(t, natpmp.ServerConfig{MaxConcurrent: 8, MaxPerClient: 4, MaxWaiting: 12, Handler: h, Rank: byPort})
		for client := range byte(10) {
			want(conn, lanHost(client+1), 2000, 2001)
		}
		if n := len(h.order()); n != 5 {
			t.Errorf("%d strangers' requests in work, want five eighths", n)
		}
		for client := range byte(10) {
			want(conn, lanHost(client+11), 1000, 1001)
		}
		if n := len(h.order()); n != 6 {
			t.Errorf("%d requests in work that are no renewals, want three quarters", n)
		}
		full := s.Stats().Overload
		want(conn, lanHost(11), 1, 1)
		want(conn, lanHost(12), 1, 2)
		got := h.order()[6:]
		if diff := cmp.Diff([]string{"192.168.88.11 1", "192.168.88.12 1"}, got); diff != "" {
			t.Errorf("renewals in work (-want +got):\n%s", diff)
		}
		if got := s.Stats().Overload; full == 0 || got != full {
			t.Errorf("%d requests dropped and %d before: others have to make room for the renewal that waits", got, full)
		}
		time.Sleep(1500 * time.Millisecond)
		if got := h.order()[8:]; !slices.Contains(got, "192.168.88.12 2") {
			t.Errorf("after a second: %v, want the renewal among the first", got)
		}
	})
}

// One client has a quarter of the queue, whatever the ranks of its requests.
func TestServerBoundsOneClientsQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, conn := serve(t, natpmp.ServerConfig{MaxConcurrent: 8, MaxPerClient: 1, MaxWaiting: 16, Handler: new(slow), Rank: byPort})
		want(conn, lanHost(1), 1, 4)
		want(conn, lanHost(1), 2000, 2003)
		if got := s.Stats().Overload; got != 2 {
			t.Errorf("%d dropped of two in work and six more, want 2", got)
		}
	})
}

// A request does not overtake one for the same mapping, although its rank is higher.
func TestServerKeepsTheOrderOfAMapping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := new(slow)
		_, conn := serve(t, natpmp.ServerConfig{
			MaxConcurrent: 1, Handler: h,
			Rank: func(_ netip.Addr, about natpmp.Subject) natpmp.Rank {
				if about.Effect == wire.Ends {
					return natpmp.RankHolder
				}
				return natpmp.RankRenewal
			},
		})
		want(conn, lanHost(1), 1, 1)
		deletion := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 2}
		conn.in <- datagram{data: deletion.Append(nil), addr: lanHost(1)}
		want(conn, lanHost(1), 2, 3)
		time.Sleep(10 * time.Second)
		wanted := []string{"192.168.88.1 1", "192.168.88.1 3", "192.168.88.1 2", "192.168.88.1 2"}
		if diff := cmp.Diff(wanted, h.order()); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

// When the queue is full a client that had nothing yet gets the place of one that
// has many requests waiting.
func TestServerMakesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := new(slow)
		_, conn := serve(t, natpmp.ServerConfig{MaxConcurrent: 1, MaxWaiting: 12, Handler: h})
		for client := range byte(4) {
			want(conn, lanHost(client+1), 1, 4)
		}
		want(conn, lanHost(9), 1, 1)
		time.Sleep(20 * time.Second)
		got := h.order()
		if len(got) != 13 || !slices.Contains(got, "192.168.88.9 1") {
			t.Errorf("served: %v", got)
		}
	})
}

// Stopping gives up what waits, and answers nobody afterwards.
func TestServeDropsTheQueueAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := new(slow)
		s, err := natpmp.NewServer(natpmp.ServerConfig{Epoch: natpmp.NewEpoch(), Handler: h, MaxConcurrent: 1})
		if err != nil {
			t.Fatal(err)
		}
		conn := newMemPacketConn()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, conn) }()
		want(conn, lanHost(1), 1, 50)
		cancel()
		start := time.Now()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != time.Second || len(h.order()) != 1 || len(conn.out) != 1 {
			t.Errorf("took %v, served %v, sent %d replies", took, h.order(), len(conn.out))
		}
	})
}

// Packets that are dropped cannot fill a disk with log lines.
func TestServerBoundsLogLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, logged := recordLogs()
		_, conn := serve(t, natpmp.ServerConfig{Handler: new(slow), Logger: logger})
		for range 3 {
			for range 1000 {
				conn.in <- datagram{data: []byte{0}, addr: lanClient()}
			}
			time.Sleep(time.Second)
		}
		if n := strings.Count(logged(), "packet dropped"); n != 60 {
			t.Errorf("%d lines in three seconds, want 60", n)
		}
	})
}
