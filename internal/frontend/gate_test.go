package frontend_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/frontend"
	"doublenat/natpmp"
)

// gated returns a frontend of which only the gate is of interest.
func gated(t *testing.T, cfg frontend.Config) *frontend.Frontend {
	t.Helper()
	cfg.Core, cfg.External = &fakeCore{}, func() (netip.Addr, bool) { return publicAddr, true }
	f, err := frontend.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lanHost returns one of 65536 clients.
func lanHost(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }

// knock sends so many requests at once and returns how many were let in.
func knock(f *frontend.Frontend, client netip.Addr, times int) int {
	in := 0
	for i := range times {
		if f.Admit(natpmp.Arrival{Client: netip.AddrPortFrom(client, uint16(i+1))}) {
			in++
		}
	}
	return in
}

func TestClientRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := gated(t, frontend.Config{ClientRate: 50})
		if got := knock(f, clientA, 1000); got != 200 {
			t.Errorf("%d of 1000 let in at once, want 200", got)
		}
		if got := knock(f, clientB, 10); got != 10 {
			t.Errorf("%d of 10 of another client let in, want all", got)
		}
		time.Sleep(time.Second)
		if got := knock(f, clientA, 1000); got != 50 {
			t.Errorf("%d let in after a second, want 50", got)
		}
		// The rates of programs that are known: an epoch check that is wrong, and polling.
		for range 60 {
			time.Sleep(time.Second)
			if got := knock(f, clientA, 2); got != 2 {
				t.Fatal("a client that asks twice a second was held up")
			}
		}
		if got := f.Stats().TooFast; got != 800+950 {
			t.Errorf("%d counted as too fast", got)
		}
	})
}

func TestNewClientRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := gated(t, frontend.Config{NewClientRate: 10, Holds: func(a netip.Addr) bool { return a == clientB }})
		in := 0
		for i := range 60000 {
			in += knock(f, lanHost(i), 1)
		}
		if in != 40 {
			t.Errorf("%d new clients let in at once, want 40", in)
		}
		if got := f.Stats(); got.Visitors != 40 || got.TooManyNew != 59960 {
			t.Errorf("forgers left traces: %+v", got)
		}
		if knock(f, clientB, 3) != 3 {
			t.Error("a client with a mapping was held up")
		}
		if knock(f, lanHost(7), 3) != 3 {
			t.Error("a client that had been let in was held up")
		}
		if knock(f, clientA, 1) != 0 {
			t.Error("a new client came through: the bucket should be empty")
		}
		time.Sleep(100 * time.Millisecond)
		if knock(f, clientA, 1) != 1 {
			t.Error("a new client did not come through when it was its turn")
		}
		time.Sleep(5*time.Minute + time.Second)
		knock(f, clientA, 1)
		if got := f.Stats().Visitors; got != 1 {
			t.Errorf("%d clients are remembered, want the one that asked", got)
		}
	})
}

// The map of clients is bounded whatever comes, and drops who was not seen longest.
func TestVisitorsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := gated(t, frontend.Config{ClientRate: 1})
		knock(f, clientA, 4)
		for i := range 4095 {
			knock(f, lanHost(i), 1)
		}
		if knock(f, clientA, 1) != 0 || f.Stats().Visitors != 4096 {
			t.Errorf("a bucket was forgotten too soon: %+v", f.Stats())
		}
		for i := range 20000 {
			knock(f, lanHost(10000+i), 1)
		}
		if f.Stats().Visitors != 4096 || knock(f, clientA, 1) != 1 {
			t.Errorf("visitors after a flood: %+v", f.Stats())
		}
	})
}

func TestNoRates(t *testing.T) {
	t.Parallel()
	f := gated(t, frontend.Config{})
	if got := knock(f, clientA, 5000); got != 5000 || f.Stats().Visitors != 0 {
		t.Errorf("%d of 5000 let in, %d visitors", got, f.Stats().Visitors)
	}
}

// A flood is told of once a minute, and what clients are told is nothing.
func TestFloodIsLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := gated(t, frontend.Config{ClientRate: 1, NewClientRate: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for range 150 {
			knock(f, clientA, 100)
			knock(f, clientB, 100)
			time.Sleep(time.Second)
		}
		const message = "requests come too fast, dropping some"
		if got := strings.Count(log.String(), message); got != 3 {
			t.Errorf("%d lines in 150 seconds, want 3:\n%s", got, log.String())
		}
	})
}

// When nobody but the router asks, its redirect is masqueraded, and it says so,
// whoever else may ask.
func TestMasqueradedRedirectIsTold(t *testing.T) {
	t.Parallel()
	router := routerAddr.Addr()
	for name, who := range map[string]frontend.Config{
		"the private networks": {},
		"one client alone":     {Allow: []netip.Prefix{netip.PrefixFrom(clientA, 32)}},
		"not the router":       {Deny: []netip.Prefix{netip.PrefixFrom(router, 32)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				who.Exclude = func(a netip.Addr) bool { return a == router }
				who.Logger = slog.New(slog.NewTextHandler(&log, nil))
				masqueraded(t, gated(t, who), &log)
			})
		})
	}
}

// masqueraded lets the router ask, and a client once.
func masqueraded(t *testing.T, f *frontend.Frontend, log *bytes.Buffer) {
	t.Helper()
	router := routerAddr.Addr()
	told := func() int { return strings.Count(log.String(), "all requests come from the router itself") }
	knock(f, router, 2)
	knock(f, clientA, 1)
	knock(f, router, 2)
	if told() != 0 {
		t.Errorf("told although a client asks too:\n%s", log.String())
	}
	knock(f, router, 500)
	if told() != 1 || !strings.Contains(log.String(), "masquerade") {
		t.Errorf("told %d times, want once:\n%s", told(), log.String())
	}
	time.Sleep(time.Hour)
	knock(f, router, 500)
	if told() != 2 {
		t.Errorf("told %d times after an hour, want twice", told())
	}
	if got := f.Stats().Excluded; got != 1004 {
		t.Errorf("%d counted, want 1004", got)
	}
}

// Requests that all come from a bridge's or a container network's address are served,
// and it is told that clients cannot be told apart. One among others is a client.
func TestHiddenClientsAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		relay := netip.MustParseAddr("172.17.0.1")
		var log bytes.Buffer
		f := gated(t, frontend.Config{
			Relay: func(a netip.Addr) bool { return a == relay || a == clientB }, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		told := func() int { return strings.Count(log.String(), "all requests come from the address of a bridge") }
		for range 5 {
			knock(f, relay, 2)
			knock(f, clientA, 1)
			knock(f, relay, 1)
			knock(f, clientB, 1)
		}
		if told() != 0 {
			t.Errorf("told although others ask too:\n%s", log.String())
		}
		if knock(f, relay, 50); told() != 1 || !strings.Contains(log.String(), "network_mode: host") {
			t.Errorf("told %d times, want once:\n%s", told(), log.String())
		}
		if got := f.Stats().Excluded; got != 0 {
			t.Errorf("%d are dropped", got)
		}
	})
}

// A port that the operator keeps back is refused, and may still be given up.
func TestPorts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core := &fakeCore{grant: grant4001()}
		r := newRig(t, core, func(cfg *frontend.Config, _ *natpmp.ServerConfig) {
			cfg.Ports = func(port uint16) bool { return port >= 1024 && port != 0x1234 }
		})
		h := r.host(t, clientA)
		var got []string
		for _, packet := range []string{mapTCP, mapUDP, "0002 0000 0016 0016 00000e10", "0002 0000 1235 0000 00000e10", unmapTCP, unmapAll} {
			h.send(packet)
			got = append(got, h.replies()...)
		}
		want := []string{
			"00820002000000001234000000000000", "00810002000000001234000000000000", "00820002000000000016000000000000",
			"008200000000000012350fa10000003c", "00820000000000001234000000000000", "00820000000000000000000000000000",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("replies (-want +got):\n%s", diff)
		}
		calls := []string{"map tcp 192.168.88.10:4661 for 1h0m0s", "unmap tcp 192.168.88.10:4660", "unmap all tcp of 192.168.88.10"}
		if diff := cmp.Diff(calls, core.asked()); diff != "" {
			t.Errorf("calls of the core (-want +got):\n%s", diff)
		}
	})
}
