package natpmp_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
)

// recordingSender notes what is announced, and when.
type recordingSender struct {
	start time.Time

	mu sync.Mutex
	// seen and err are guarded by mu.
	seen []sighting
	err  error
}

func (s *recordingSender) Announce(packet []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, sighting{At: time.Since(s.start), Packet: hexString(packet)})
	return s.err
}

// take returns what was announced since it was called before.
func (s *recordingSender) take() []sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

// always is one link that is always there.
func always(s natpmp.AnnouncementSender) func() []natpmp.AnnouncementLink {
	return func() []natpmp.AnnouncementLink { return []natpmp.AnnouncementLink{{ID: "lan", AnnouncementSender: s}} }
}

// startAnnouncer runs an announcer until the test ends.
func startAnnouncer(t *testing.T, cfg natpmp.AnnouncerConfig) *natpmp.Announcer {
	t.Helper()
	a, err := natpmp.NewAnnouncer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return a
}

// TestAnnouncer: ten copies with doubling gaps, each with the epoch of its
// moment; a new event begins a new series (RFC 6886 §3.2.1).
func TestAnnouncer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sender := &recordingSender{start: time.Now()}
		epoch := natpmp.NewEpoch()
		var known bool // synctest.Wait orders the accesses
		a := startAnnouncer(t, natpmp.AnnouncerConfig{
			Links: always(sender), Epoch: epoch,
			Address: func() (netip.Addr, bool) { return address5678(), known },
		})
		time.Sleep(time.Second)
		synctest.Wait()
		want := []sighting{
			{At: 0, Packet: "008000030000000000000000"},
			{At: 250 * time.Millisecond, Packet: "008000030000000000000000"},
			{At: 750 * time.Millisecond, Packet: "008000030000000000000000"},
		}
		if diff := cmp.Diff(want, sender.take()); diff != "" {
			t.Errorf("before the address is known (-want +got):\n%s", diff)
		}

		known = true
		sender.start = time.Now()
		a.Announce()
		time.Sleep(time.Hour)
		synctest.Wait()
		want = nil
		for _, c := range []struct{ ms, epoch int }{
			{0, 1}, {250, 1}, {750, 1}, {1750, 2}, {3750, 4}, {7750, 8}, {15750, 16}, {31750, 32}, {63750, 64}, {127750, 128},
		} {
			resp := natpmp.Response{Epoch: uint32(c.epoch), Address: address5678()}
			want = append(want, sighting{At: time.Duration(c.ms) * time.Millisecond, Packet: hexString(resp.Append(nil))})
		}
		if diff := cmp.Diff(want, sender.take()); diff != "" {
			t.Errorf("after the address changed (-want +got):\n%s", diff)
		}

		epoch.Reset()
		sender.start = time.Now()
		a.Announce()
		synctest.Wait()
		want = []sighting{{Packet: "008000000000000005060708"}}
		if diff := cmp.Diff(want, sender.take()); diff != "" {
			t.Errorf("after a state loss (-want +got):\n%s", diff)
		}
	})
}

// TestAnnouncerGoesOn when sending fails, once a minute in the end, and says so once for
// each series.
func TestAnnouncerGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, logged := recordLogs()
		sender := &recordingSender{start: time.Now(), err: errNoRoute}
		a := startAnnouncer(t, natpmp.AnnouncerConfig{
			Links: always(sender), Epoch: natpmp.NewEpoch(), Logger: logger,
			Address: func() (netip.Addr, bool) { return address5678(), true },
		})
		time.Sleep(time.Hour)
		a.Announce()
		time.Sleep(time.Hour)
		if n := len(sender.take()); n < 2*(10+57) || n > 2*(10+58) {
			t.Errorf("%d packets, want a series and one a minute in each hour", n)
		}
		if n := strings.Count(logged(), "level=WARN"); n != 2 {
			t.Errorf("%d warnings, want 2", n)
		}
	})
}

// TestAnnounceBeforeRun: the first series is the one that was asked for.
func TestAnnounceBeforeRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sender := &recordingSender{start: time.Now()}
		a, err := natpmp.NewAnnouncer(natpmp.AnnouncerConfig{
			Links: always(sender), Epoch: natpmp.NewEpoch(),
			Address: func() (netip.Addr, bool) { return address5678(), true },
		})
		if err != nil {
			t.Fatal(err)
		}
		a.Announce()
		a.Announce()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := a.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if n := len(sender.take()); n != 10 {
			t.Errorf("%d packets, want 10", n)
		}
	})
}

func TestNewAnnouncerChecks(t *testing.T) {
	t.Parallel()
	sender, epoch := &recordingSender{}, natpmp.NewEpoch()
	address := func() (netip.Addr, bool) { return netip.Addr{}, false }
	for name, cfg := range map[string]natpmp.AnnouncerConfig{
		"no links":   {Epoch: epoch, Address: address},
		"no epoch":   {Links: always(sender), Address: address},
		"no address": {Links: always(sender), Epoch: epoch},
	} {
		if _, err := natpmp.NewAnnouncer(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestListener(t *testing.T) {
	t.Parallel()
	gateway := netip.MustParseAddrPort("10.2.0.1:5351")
	tests := []struct {
		name   string
		from   netip.AddrPort
		packet string
		want   []natpmp.Response
	}{
		{
			name: "announcement", from: gateway, packet: "0080 0000 00000007 05060708",
			want: []natpmp.Response{{Epoch: 7, Address: address5678()}},
		},
		{
			name: "gateway without an address", from: gateway, packet: "0080 0003 00000007 00000000",
			want: []natpmp.Response{{Epoch: 7, Result: natpmp.ResultNetworkFailure}},
		},
		{
			name: "other source port", from: netip.MustParseAddrPort("10.2.0.1:1"), packet: "0080 0000 00000007 05060708",
			want: []natpmp.Response{{Epoch: 7, Address: address5678()}},
		},
		{name: "forged", from: netip.MustParseAddrPort("10.2.0.9:5351"), packet: "0080 0000 00000007 05060708"},
		{name: "too short", from: gateway, packet: "0080"},
		{name: "request", from: gateway, packet: "0000"},
		{name: "map reply", from: gateway, packet: "0081 0000 00000007 1234 5678 00000e10"},
		{name: "no address to check", packet: "0080 0000 00000007 05060708"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got []natpmp.Response
				l, err := natpmp.NewListener(natpmp.ListenerConfig{
					Gateway:        gateway.Addr(),
					OnAnnouncement: func(r natpmp.Response, _ time.Time) { got = append(got, r) },
				})
				if err != nil {
					t.Fatal(err)
				}
				conn := newMemPacketConn()
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- l.Serve(ctx, conn) }()
				conn.in <- datagram{data: unhex(t, tt.packet), addr: tt.from}
				synctest.Wait()
				cancel()
				if err := <-done; err != nil {
					t.Errorf("Serve: %v", err)
				}
				if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("announcements (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestListenerHandsOn what is of another version, from the gateway only: PCP announces on the
// same port.
func TestListenerHandsOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gateway := netip.MustParseAddrPort("10.2.0.1:5351")
		var others []string
		l, err := natpmp.NewListener(natpmp.ListenerConfig{
			Gateway:        gateway.Addr(),
			OnAnnouncement: func(r natpmp.Response, _ time.Time) { t.Errorf("%+v is no announcement", r) },
			OnOther:        func(packet []byte, _ time.Time) { others = append(others, hexString(packet)) },
		})
		if err != nil {
			t.Fatal(err)
		}
		conn := newMemPacketConn()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Serve(ctx, conn) }()
		pcp := unhex(t, "0280 0000 00000000 00000007 00000000 00000000 00000000")
		conn.in <- datagram{data: pcp, addr: netip.MustParseAddrPort("10.2.0.9:5351")}
		conn.in <- datagram{data: pcp, addr: gateway}
		conn.in <- datagram{data: pcp[:4], addr: gateway}
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{hexString(pcp)}, others); diff != "" {
			t.Errorf("handed on (-want +got):\n%s", diff)
		}
	})
}

func TestListenerEndsWithItsConn(t *testing.T) {
	t.Parallel()
	l, err := natpmp.NewListener(natpmp.ListenerConfig{
		Gateway: address5678(), OnAnnouncement: func(natpmp.Response, time.Time) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := newMemPacketConn()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Serve(t.Context(), conn); err == nil {
		t.Error("no error")
	}
}

func TestNewListenerChecks(t *testing.T) {
	t.Parallel()
	tell := func(natpmp.Response, time.Time) {}
	for name, cfg := range map[string]natpmp.ListenerConfig{
		"no gateway":   {OnAnnouncement: tell},
		"IPv6 gateway": {Gateway: netip.IPv6Loopback(), OnAnnouncement: tell},
		"nobody":       {Gateway: address5678()},
	} {
		if _, err := natpmp.NewListener(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestAnnouncementOnTheWire sends on the loopback interface and hears it with two
// listeners, as two programs on one host would.
func TestAnnouncementOnTheWire(t *testing.T) {
	t.Parallel()
	loopback, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("no interface lo: %v", err)
	}
	source := netip.MustParseAddr("127.0.53.50")
	heard := make(chan natpmp.Response, 2)
	hear := func(r natpmp.Response, _ time.Time) {
		select {
		case heard <- r:
		default: // of another test on this host
		}
	}
	for range 2 {
		conn, err := natpmp.ListenAnnouncements()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("224.0.0.1:5350", conn.LocalAddr().String()); diff != "" {
			t.Errorf("bound to (-want +got):\n%s", diff)
		}
		l, err := natpmp.NewListener(natpmp.ListenerConfig{
			Gateway: source, OnAnnouncement: hear,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Serve(ctx, conn) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Serve: %v", err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}

	socket, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	sender, err := natpmp.NewMulticastSender(socket, []natpmp.MulticastLink{{Interface: loopback.Index, Source: source}})
	if err != nil {
		t.Fatal(err)
	}
	want := natpmp.Response{Epoch: 7, Address: address5678()}
	if err := sender.Announce(want.Append(nil)); err != nil {
		t.Skipf("the loopback interface takes no multicast here: %v", err)
	}
	for range 2 {
		select {
		case got := <-heard:
			if got != want {
				t.Errorf("heard %+v, want %+v", got, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("nothing heard")
		}
	}
}

func TestMulticastSenderErrors(t *testing.T) {
	t.Parallel()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	for name, links := range map[string][]natpmp.MulticastLink{"no link": nil, "no interface": {{}}} {
		if _, err := natpmp.NewMulticastSender(socket, links); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	sender, err := natpmp.NewMulticastSender(socket, []natpmp.MulticastLink{{Interface: 1 << 20}, {Interface: 1<<20 + 1}})
	if err != nil {
		t.Fatal(err)
	}
	err = sender.Announce([]byte{0, 128})
	if err == nil || !strings.Contains(err.Error(), "1048576") || !strings.Contains(err.Error(), "1048577") {
		t.Errorf("interfaces that do not exist: %v", err)
	}
	if err := socket.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := natpmp.NewMulticastSender(socket, []natpmp.MulticastLink{{Interface: 1}}); err == nil {
		t.Error("closed socket: no error")
	}
}
