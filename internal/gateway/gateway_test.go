package gateway_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doublenat/internal/gateway"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// external returns what External says, in words.
func (r *rig) external() string {
	if a, ok := r.External(); ok {
		return a.String()
	}
	return "unknown"
}

func TestExternalAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.RFC(), nil)
		if got := r.external(); got != "unknown" {
			t.Errorf("at first: %s", got)
		}
		time.Sleep(time.Second)
		if got := r.external(); got != publicAddr.String() {
			t.Errorf("after a second: %s", got)
		}

		r.remote.SetAddress(netip.MustParseAddr("5.6.7.9"))
		time.Sleep(time.Minute)
		if got := r.external(); got != "5.6.7.9" {
			t.Errorf("a minute after a change: %s", got)
		}

		r.remote.SetAddress(netip.Addr{})
		time.Sleep(time.Minute)
		if got := r.external(); got != "unknown" {
			t.Errorf("a minute after it was taken away: %s", got)
		}

		r.remote.SetAddress(publicAddr)
		time.Sleep(time.Minute)
		if got := r.external(); got != publicAddr.String() {
			t.Errorf("a minute after it came back: %s", got)
		}
		want := []change{
			{Before: "invalid IP", Now: "5.6.7.8"},
			{Before: "5.6.7.8", Now: "5.6.7.9"},
			{Before: "5.6.7.9", Now: "invalid IP"},
			{Before: "invalid IP", Now: "5.6.7.8"},
		}
		if diff := cmp.Diff(want, r.addressChanges()); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	})
}

// TestAddressIsKept: three packets a minute while all is well, and every five seconds
// while the gateway refuses, for ever.
func TestAddressIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.RFC(), nil)
		time.Sleep(10*time.Minute + time.Second)
		if n := len(r.asked(natpmp.OpExternalAddress)); n != 31 {
			t.Errorf("%d packets in ten minutes, want 31", n)
		}
		r.remote.Refuse(true)
		time.Sleep(9 * time.Minute)
		if got := r.external(); got != publicAddr.String() {
			t.Errorf("after nine minutes without the gateway: %s", got)
		}
		time.Sleep(2 * time.Minute)
		if got := r.external(); got != "unknown" {
			t.Errorf("after eleven minutes without the gateway: %s", got)
		}
		gaps := r.asked(natpmp.OpExternalAddress)[31:]
		var got []time.Duration
		for i := range gaps[:5] {
			got = append(got, (gaps[i+1] - gaps[i]).Round(time.Second))
		}
		want := slices.Repeat([]time.Duration{5 * time.Second}, 5)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pauses while refused (-want +got):\n%s", diff)
		}
		time.Sleep(6 * time.Hour)
		r.remote.Refuse(false)
		time.Sleep(6 * time.Second)
		if got := r.external(); got != publicAddr.String() {
			t.Errorf("six seconds after hours without the gateway: %s", got)
		}
	})
}

// TestStateLoss: every reply is looked at, whoever it was for.
func TestStateLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Proton(), nil)
		time.Sleep(30 * time.Second)
		r.remote.Restart(false)
		if _, err := r.lease(t, request(), time.Second); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]time.Duration{30*time.Second + 20*time.Millisecond}, r.stateLosses()); diff != "" {
			t.Errorf("losses (-want +got):\n%s", diff)
		}
		time.Sleep(time.Hour)
		if n := len(r.stateLosses()); n != 1 {
			t.Errorf("%d losses reported for one", n)
		}
		// Nobody asks: the refresh of the address notices.
		r.remote.Restart(true)
		time.Sleep(time.Minute)
		if n := len(r.stateLosses()); n != 2 {
			t.Errorf("%d losses reported for two", n)
		}
		if got := r.Stats().StateLosses; got != 2 {
			t.Errorf("%d losses counted", got)
		}
	})
}

// TestStateLossInAFailure: failures carry the epoch as well (RFC 6886 §3.5, §3.6).
func TestStateLossInAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Proton(), nil)
		time.Sleep(30 * time.Second)
		r.remote.Restart(false)
		r.remote.Adjust(func(p *natpmptest.Profile) { p.Result = natpmp.ResultOutOfResources })
		if _, err := r.lease(t, request(), time.Second); err == nil {
			t.Fatal("no error")
		}
		if n := len(r.stateLosses()); n != 1 {
			t.Errorf("%d losses reported, want 1", n)
		}
	})
}

func TestAnnouncements(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		group := netip.MustParseAddrPort("224.0.0.1:5350")
		r := newRig(t, natpmptest.Proton(), func(r *rig, cfg *gateway.Config) {
			cfg.Address = gatewayAddr.Addr()
			cfg.ListenAnnouncements = func() (net.PacketConn, error) { return r.network.Listen(group) }
		})
		time.Sleep(10 * time.Second)
		forged := natpmp.Response{Address: netip.MustParseAddr("9.9.9.9")}.Append(nil)
		r.network.Inject(netip.MustParseAddrPort("10.2.0.66:5351"), group, forged)
		time.Sleep(time.Second)
		if n := len(r.stateLosses()); n != 0 || r.Stats().Announcements != 0 {
			t.Error("somebody else's announcement was believed")
		}

		r.remote.Restart(false)
		r.remote.SetAddress(netip.MustParseAddr("5.6.7.9"))
		r.network.Inject(gatewayAddr, group, natpmp.Response{Address: netip.MustParseAddr("5.6.7.9")}.Append(nil))
		time.Sleep(time.Second)
		if n := len(r.stateLosses()); n != 1 {
			t.Errorf("%d losses reported, want 1", n)
		}
		if got := r.external(); got != "5.6.7.9" {
			t.Errorf("address a second after the announcement: %s", got)
		}
		if n := r.Stats().Announcements; n != 1 {
			t.Errorf("%d announcements counted, want 1", n)
		}
	})
}

func TestAnnouncementsThatCannotBeHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.RFC(), func(_ *rig, cfg *gateway.Config) {
			cfg.Address = gatewayAddr.Addr()
			cfg.ListenAnnouncements = func() (net.PacketConn, error) { return nil, net.ErrClosed }
		})
		time.Sleep(time.Second)
		if r.logged("cannot receive the gateway's announcements") != 1 || r.external() == "unknown" {
			t.Errorf("address %s, log:\n%s", r.external(), r.logs.String())
		}
	})
}

// TestHealth: each change is logged once, with what to do about it.
func TestHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Int32
		r := newRig(t, natpmptest.RFC(), func(_ *rig, cfg *gateway.Config) { cfg.OnBack = func() { back.Add(1) } })
		check := func(want gateway.State, line, remedy string) {
			t.Helper()
			time.Sleep(10 * time.Minute)
			_, _ = r.lease(t, request(), 8*time.Second)
			got := r.Stats()
			if got.State != want || !strings.Contains(got.Advice.String(), remedy) || got.Advice.String() != "" && remedy == "" {
				t.Errorf("state %v, remedy %q; want %v, %q", got.State, got.Advice.String(), want, remedy)
			}
			if n := r.logged("msg=" + line); n != 1 {
				t.Errorf("%d lines %s, want 1", n, line)
			}
		}
		check(gateway.StateOK, `"gateway answers"`, "")
		r.remote.Refuse(true)
		check(gateway.StateRefused, `"gateway refuses nat-pmp"`, "NAT-PMP (port forwarding) enabled")
		if n := back.Load(); n != 0 {
			t.Errorf("back %d times before it was away", n)
		}
		r.remote.Refuse(false)
		time.Sleep(6 * time.Second)
		if n := back.Load(); n != 1 {
			t.Errorf("back %d times six seconds after a refusal, want once", n)
		}
		r.swallow(true)
		check(gateway.StateSilent, `"gateway is silent"`, "route")
		r.swallow(false)
		r.remote.Adjust(func(p *natpmptest.Profile) { p.Result = natpmp.ResultUnsupportedOpcode })
		check(gateway.StateFailing, `"gateway answers with a failure"`, "what VPN_GATEWAY says")
		if got := r.Stats().Result; got != natpmp.ResultUnsupportedOpcode {
			t.Errorf("result %v", got)
		}
		if n := back.Load(); n != 1 {
			t.Errorf("back %d times, want once: a failing gateway is not back", n)
		}
	})
}

// TestHealthOfAGatewayThatIsFull: a verdict about one mapping is no failure of the gateway.
func TestHealthOfAGatewayThatIsFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Full(1), nil)
		second := request()
		second.InnerPort++
		if _, err := r.lease(t, request(), time.Second); err != nil {
			t.Fatal(err)
		}
		if _, err := r.lease(t, second, time.Second); err == nil {
			t.Fatal("no error")
		}
		if got := r.Stats().State; got != gateway.StateOK {
			t.Errorf("state %v, want ok", got)
		}
	})
}

// TestHealthOfALossyGateway: lost packets are no silence.
func TestHealthOfALossyGateway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.RFC(), nil)
		time.Sleep(time.Second)
		r.remote.Adjust(func(p *natpmptest.Profile) { p.WrongInternal = true })
		if _, err := r.lease(t, request(), 8*time.Second); err == nil {
			t.Fatal("no error")
		}
		if got := r.Stats().State; got != gateway.StateOK {
			t.Errorf("state %v of a gateway that answered others, want ok", got)
		}
	})
}

func TestStats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, natpmptest.Proton(), nil)
		time.Sleep(time.Second)
		want := gateway.Stats{
			State: gateway.StateOK, LastSuccess: r.start.Add(20 * time.Millisecond),
			Address: publicAddr, AddressAt: r.start.Add(20 * time.Millisecond), AddressChanges: 1,
			Client: natpmp.ClientStats{Sent: 1, Received: 1, Dials: 1},
		}
		if diff := cmp.Diff(want, r.Stats(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
	})
}

func TestNewChecks(t *testing.T) {
	t.Parallel()
	dial := func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }
	for name, cfg := range map[string]gateway.Config{
		"no dial":                           {},
		"negative window":                   {Dial: dial, Window: -1},
		"negative time":                     {Dial: dial, Refresh: -1},
		"announcements of an unknown party": {Dial: dial, ListenAnnouncements: natpmp.ListenAnnouncements},
	} {
		if _, err := gateway.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestStateNames(t *testing.T) {
	t.Parallel()
	var got []string
	for s := range gateway.State(6) {
		got = append(got, s.String())
	}
	want := []string{"unknown", "ok", "refused", "silent", "failing", "state(5)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
