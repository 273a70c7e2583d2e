package natpmp_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
)

// lanClient is where the test's requests come from.
func lanClient() netip.AddrPort { return netip.MustParseAddrPort("192.168.88.10:40000") }

// grant is a handler that gives everybody what they want.
func grant(_ context.Context, _ natpmp.Arrival, req natpmp.Request) natpmp.Reply {
	switch {
	case req.Opcode == natpmp.OpExternalAddress:
		return natpmp.Address(address5678())
	case req.Lifetime == 0:
		return natpmp.Deleted()
	default:
		return natpmp.Mapped(req.InternalPort+1, req.Lifetime)
	}
}

// serve starts a server in a bubble of virtual time and stops it when the test ends.
func serve(t *testing.T, cfg natpmp.ServerConfig) (*natpmp.Server, *memPacketConn) {
	t.Helper()
	if cfg.Epoch == nil {
		cfg.Epoch = natpmp.NewEpoch()
	}
	s, err := natpmp.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	conn := newMemPacketConn()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, conn
}

// ask sends a packet and returns all replies to it, in hexadecimal.
func ask(t *testing.T, conn *memPacketConn, packet []byte) []string {
	t.Helper()
	conn.in <- datagram{data: packet, addr: lanClient()}
	synctest.Wait()
	var replies []string
	for {
		select {
		case d := <-conn.out:
			if d.addr != lanClient() {
				t.Errorf("reply went to %v", d.addr)
			}
			replies = append(replies, hexString(d.data))
		default:
			return replies
		}
	}
}

func TestServerReplies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		handler natpmp.HandlerFunc
		packet  string
		want    []string
	}{
		{name: "address", handler: grant, packet: "0000", want: []string{"008000000000000305060708"}},
		{name: "map", handler: grant, packet: "0001 0000 1234 5678 00000e10", want: []string{"00810000000000031234123500000e10"}},
		{name: "delete", handler: grant, packet: "0002 0000 1234 5678 00000000", want: []string{"00820000000000031234000000000000"}},
		{name: "delete all", handler: grant, packet: "0002 0000 0000 0000 00000000", want: []string{"00820000000000030000000000000000"}},
		{name: "PCP announce", handler: grant, packet: "0200 0000" + strings.Repeat("00", 20), want: []string{"0080000100000003"}},
		{name: "PCP map", handler: grant, packet: "0201 0000" + strings.Repeat("00", 56), want: []string{"0081000100000003"}},
		{name: "version 1, two bytes", handler: grant, packet: "0100", want: []string{"0080000100000003"}},
		{name: "opcode 3", handler: grant, packet: "0003", want: []string{"0083000500000003"}},
		{name: "opcode 3 with a body", handler: grant, packet: "0003 0102030405060708090a", want: []string{"00830005030405060708090a"}},
		{name: "response", handler: grant, packet: "0080 0000 00000001 05060708"},
		{name: "PCP response", handler: grant, packet: "0281 0000"},
		{name: "empty", handler: grant, packet: ""},
		{name: "one byte", handler: grant, packet: "00"},
		{name: "short map", handler: grant, packet: "0001 0000 1234 5678 00000e"},
		{name: "longest packet", handler: grant, packet: "0000" + strings.Repeat("00", 1098), want: []string{"008000000000000305060708"}},
		{name: "too long", handler: grant, packet: "0000" + strings.Repeat("00", 1099)},
		{name: "silence", handler: reply(natpmp.Silence()), packet: "0000"},
		{
			name: "failure of a map", handler: reply(natpmp.Failure(natpmp.ResultOutOfResources)),
			packet: "0001 0000 1234 5678 00000e10", want: []string{"00810004000000031234000000000000"},
		},
		{
			name: "failure of an address request", handler: reply(natpmp.Failure(natpmp.ResultNetworkFailure)),
			packet: "0000", want: []string{"008000030000000300000000"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, conn := serve(t, natpmp.ServerConfig{Handler: tt.handler})
				time.Sleep(3 * time.Second)
				if diff := cmp.Diff(tt.want, ask(t, conn, unhex(t, tt.packet))); diff != "" {
					t.Errorf("replies (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// reply is a handler that always decides the same.
func reply(r natpmp.Reply) natpmp.HandlerFunc {
	return func(context.Context, natpmp.Arrival, natpmp.Request) natpmp.Reply { return r }
}

// TestServerMistrustsHandlers: a decision that does not fit the request must
// reach no client as a success.
func TestServerMistrustsHandlers(t *testing.T) {
	t.Parallel()
	const (
		address, create, remove = "0000", "0001 0000 1234 5678 00000e10", "0001 0000 1234 5678 00000000"
		addressFailed           = "008000030000000000000000"
		mapFailed               = "00810003000000001234000000000000"
	)
	tests := []struct {
		name         string
		decision     natpmp.Reply
		packet, want string
	}{
		{name: "no decision", packet: create, want: mapFailed},
		{name: "failure that is a success", decision: natpmp.Failure(natpmp.ResultSuccess), packet: create, want: mapFailed},
		{name: "mapped to port 0", decision: natpmp.Mapped(0, 60), packet: create, want: mapFailed},
		{name: "mapped for no time", decision: natpmp.Mapped(4000, 0), packet: create, want: mapFailed},
		{name: "mapped instead of deleted", decision: natpmp.Mapped(4000, 60), packet: remove, want: mapFailed},
		{name: "deleted instead of mapped", decision: natpmp.Deleted(), packet: create, want: mapFailed},
		{name: "address for a map", decision: natpmp.Address(address5678()), packet: create, want: mapFailed},
		{name: "map for an address", decision: natpmp.Mapped(4000, 60), packet: address, want: addressFailed},
		{name: "deletion of an address", decision: natpmp.Deleted(), packet: address, want: addressFailed},
		{name: "no address", decision: natpmp.Address(netip.Addr{}), packet: address, want: addressFailed},
		{name: "IPv6 address", decision: natpmp.Address(netip.IPv6Loopback()), packet: address, want: addressFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, conn := serve(t, natpmp.ServerConfig{Handler: reply(tt.decision)})
				if diff := cmp.Diff([]string{tt.want}, ask(t, conn, unhex(t, tt.packet))); diff != "" {
					t.Errorf("replies (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestServerEpochIsReadWhenSending: a slow handler does not make the epoch old.
func TestServerEpochIsReadWhenSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		epoch := natpmp.NewEpoch()
		_, conn := serve(t, natpmp.ServerConfig{Epoch: epoch, Handler: natpmp.HandlerFunc(
			func(context.Context, natpmp.Arrival, natpmp.Request) natpmp.Reply {
				time.Sleep(4 * time.Second)
				return natpmp.Address(address5678())
			})})
		time.Sleep(10 * time.Second)
		conn.in <- datagram{data: []byte{0, 0}, addr: lanClient()}
		if got, want := hexString((<-conn.out).data), "00800000"+"0000000e"+"05060708"; got != want {
			t.Errorf("reply %s, want %s", got, want)
		}
	})
}

func TestServerStats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		denied := netip.MustParseAddrPort("203.0.113.9:1")
		s, conn := serve(t, natpmp.ServerConfig{
			Admit: func(a natpmp.Arrival) bool { return a.Client != denied },
			Handler: natpmp.HandlerFunc(func(_ context.Context, _ natpmp.Arrival, req natpmp.Request) natpmp.Reply {
				if req.Opcode == natpmp.OpMapTCP {
					return natpmp.Silence()
				}
				return grant(t.Context(), natpmp.Arrival{Client: lanClient()}, req)
			}),
		})
		for _, p := range []string{
			"0000", "0001 0000 0001 0002 00000003", "0002 0000 0001 0002 00000003",
			"02", "0200", "0003", "0080", "0001", strings.Repeat("00", 1101),
		} {
			ask(t, conn, unhex(t, p))
		}
		for _, p := range []string{"0000", "0200", "0003"} {
			conn.in <- datagram{data: unhex(t, p), addr: denied}
		}
		conn.writeErr = errors.New("no route")
		ask(t, conn, []byte{0, 0})
		want := natpmp.ServerStats{
			Received: 13, Replies: 4, VersionErrors: 1, OpcodeErrors: 1, Silenced: 1,
			Short: 2, Oversize: 1, Responses: 1, NotAdmitted: 3, SendErrors: 1,
		}
		if diff := cmp.Diff(want, s.Stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
	})
}

func TestServerSurvivesPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, logged := recordLogs()
		s, conn := serve(t, natpmp.ServerConfig{Logger: logger, Handler: natpmp.HandlerFunc(
			func(_ context.Context, _ natpmp.Arrival, req natpmp.Request) natpmp.Reply {
				if req.Opcode == natpmp.OpMapUDP {
					panic("a bug")
				}
				return natpmp.Address(address5678())
			})})
		got := ask(t, conn, unhex(t, "0001 0000 1234 5678 00000e10"))
		got = append(got, ask(t, conn, []byte{0, 0})...)
		want := []string{"00810003000000001234000000000000", "008000000000000005060708"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("replies (-want +got):\n%s", diff)
		}
		if s.Stats().Panics != 1 {
			t.Errorf("%d panics counted, want 1", s.Stats().Panics)
		}
		if log := logged(); strings.Count(log, "level=ERROR") != 1 || !strings.Contains(log, "a bug") {
			t.Errorf("the panic was not logged once: %s", log)
		}
	})
}

// TestServeWaitsForHandlers: when Serve is back, nothing of it is left.
func TestServeWaitsForHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := natpmp.NewServer(natpmp.ServerConfig{Epoch: natpmp.NewEpoch(), Handler: natpmp.HandlerFunc(
			func(ctx context.Context, _ natpmp.Arrival, _ natpmp.Request) natpmp.Reply {
				<-ctx.Done()
				time.Sleep(time.Second)
				return natpmp.Failure(natpmp.ResultNetworkFailure)
			})})
		if err != nil {
			t.Fatal(err)
		}
		conn := newMemPacketConn()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		go func() { conn.in <- datagram{data: []byte{0, 0}, addr: lanClient()} }()
		start := time.Now()
		if err := s.Serve(ctx, conn); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if d := time.Since(start); d != 6*time.Second {
			t.Errorf("Serve returned after %v, want 6s", d)
		}
		if len(conn.out) != 1 {
			t.Errorf("%d replies, want 1", len(conn.out))
		}
	})
}

func TestServeReadErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, logged := recordLogs()
		_, conn := serve(t, natpmp.ServerConfig{Handler: natpmp.HandlerFunc(grant), Logger: logger})
		start := time.Now()
		for range 5 {
			conn.readErr <- errors.New("interface is down")
		}
		if diff := cmp.Diff([]string{"008000000000000005060708"}, ask(t, conn, []byte{0, 0})); diff != "" {
			t.Errorf("after the errors (-want +got):\n%s", diff)
		}
		if d := time.Since(start); d < 100*time.Millisecond || d > 2*time.Second {
			t.Errorf("five errors took %v: a pause should grow between them, and not too much", d)
		}
		if n := strings.Count(logged(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings, want 1", n)
		}
	})
}

// TestServeOtherAddresses: a connection may have addresses of its own kind.
func TestServeOtherAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, conn := serve(t, natpmp.ServerConfig{Handler: natpmp.HandlerFunc(grant)})
		conn.source = func(a netip.AddrPort) net.Addr { return textAddr("[::ffff:" + a.Addr().String() + "]:40000") }
		want := []string{"008000000000000005060708"}
		if diff := cmp.Diff(want, ask(t, conn, []byte{0, 0})); diff != "" {
			t.Errorf("replies (-want +got):\n%s", diff)
		}
		conn.source = func(netip.AddrPort) net.Addr { return textAddr("the house next door") }
		if got := ask(t, conn, []byte{0, 0}); got != nil {
			t.Errorf("replies to nowhere: %v", got)
		}
		conn.source = nil
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"008000000000000105060708"}, ask(t, conn, []byte{0, 0})); diff != "" {
			t.Errorf("replies afterwards (-want +got):\n%s", diff)
		}
	})
}

func TestServeClosedConn(t *testing.T) {
	t.Parallel()
	s, err := natpmp.NewServer(natpmp.ServerConfig{Epoch: natpmp.NewEpoch(), Handler: natpmp.HandlerFunc(grant)})
	if err != nil {
		t.Fatal(err)
	}
	conn := newMemPacketConn()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), conn); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v, want net.ErrClosed", err)
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := udp.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), udp); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve on a UDP socket = %v, want net.ErrClosed", err)
	}
}

func TestNewServerChecks(t *testing.T) {
	t.Parallel()
	handler, epoch := natpmp.HandlerFunc(grant), natpmp.NewEpoch()
	for name, cfg := range map[string]natpmp.ServerConfig{
		"no handler":       {Epoch: epoch},
		"no epoch":         {Handler: handler},
		"negative maximum": {Handler: handler, Epoch: epoch, MaxConcurrent: -1},
		"negative queue":   {Handler: handler, Epoch: epoch, MaxWaiting: -1},
	} {
		if _, err := natpmp.NewServer(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
