package ops_test

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doublenat/internal/foreign"
	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/internal/ops"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/natpmp"
)

// noon is the moment of the pictures in these tests.
func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// fine is an input in which all is well.
func fine() ops.Input {
	return ops.Input{
		Now: noon(),
		About: ops.About{
			Version: "v1.2.3", Instance: "default", Started: noon().Add(-time.Hour),
			Listen: "0.0.0.0:5351", Gateway: "10.2.0.1:5351", Router: "192.168.88.1:8728",
		},
		Parts: ops.Parts{
			Router:  router.Status{Connected: true, Ready: true, Version: "7.22 (stable)", Board: "hAP ax^3", InInterface: "wg1"},
			Gateway: gateway.Stats{State: gateway.StateOK, LastSuccess: noon(), Address: netip.MustParseAddr("5.6.7.8"), AddressAt: noon()},
			Core:    nat.Status{ReconcileAttempt: noon(), ReconcileSuccess: noon()},
			Server:  natpmp.ServerStats{Received: 1},
		},
		Latency: map[ops.Hop]time.Duration{ops.HopRouter: 1234 * time.Microsecond},
		Since:   map[ops.Hop]ops.Since{ops.HopRouter: {State: ops.StateOK, At: noon().Add(-time.Minute)}, ops.HopGateway: {State: ops.StateDown}},
	}
}

func TestAssessWhole(t *testing.T) {
	t.Parallel()
	in := fine()
	key := nat.Key{Client: alice, Protocol: nat.TCP, InternalPort: 6881}
	in.Parts.Mappings = []nat.Mapping{{
		Key: key, InnerPort: 20000, ExternalPort: 40000, Created: noon().Add(-time.Minute), Until: noon().Add(time.Hour),
		LeaseUntil: noon().Add(45 * time.Second), Granted: time.Minute, Packets: 7, Remote: nat.Remote{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Port: 5000},
	}}
	took := 1.23
	want := ops.Status{
		Time: noon(), Started: noon().Add(-time.Hour), Version: "v1.2.3", Instance: "default",
		Verdict:       ops.Verdict{State: ops.StateOK, Title: "1 port is open", Detail: "The Internet reaches it at 5.6.7.8.", Ready: true},
		PublicAddress: netip.MustParseAddr("5.6.7.8"),
		Hops: []ops.HopStatus{
			{Name: ops.HopLAN, Title: "LAN", State: ops.StateOK, Summary: "clients are answered", Detail: "on 0.0.0.0:5351"},
			{
				Name: ops.HopRouter, Title: "Router", State: ops.StateOK, Summary: "rules can be made",
				Detail: "hAP ax^3, RouterOS 7.22 (stable), rules on wg1", LatencyMS: &took, Since: noon().Add(-time.Minute),
			},
			{Name: ops.HopGateway, Title: "Gateway", State: ops.StateOK, Summary: "grants leases", Detail: "10.2.0.1:5351"},
			{Name: ops.HopAddress, Title: "Public address", State: ops.StateOK, Summary: "confirmed", Detail: "5.6.7.8"},
		},
		Mappings: []ops.Mapping{{
			Protocol: "tcp", Public: netip.MustParseAddrPort("5.6.7.8:40000"), ExternalPort: 40000, InnerPort: 20000,
			Client: alice, InternalPort: 6881, Kind: ops.KindClient, Created: noon().Add(-time.Minute), Ends: noon().Add(time.Hour),
			LeaseEnds: noon().Add(45 * time.Second), LeaseSeconds: 60, Packets: 7, Remote: "203.0.113.0/24:5000",
		}},
		Events: []ops.Event{},
	}
	if diff := cmp.Diff(want, ops.Assess(in), cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What cannot be made happen on the bench.
func TestAssessVerdict(t *testing.T) {
	t.Parallel()
	broken := errors.New("it broke")
	tests := []struct {
		name   string
		change func(in *ops.Input)
		state  ops.State
		hop    ops.Hop
		title  string
		remedy string
		// shut is set where the hops work and yet nothing can be mapped.
		shut bool
	}{
		{
			name: "table full", state: ops.StateDegraded, hop: ops.HopLAN, title: "LAN: the table is full", remedy: "MAX_MAPPINGS", shut: true,
			change: func(in *ops.Input) { in.About.MaxMappings, in.Parts.Mappings = 2, make([]nat.Mapping, 2) },
		},
		{
			name: "no port left", state: ops.StateDegraded, hop: ops.HopGateway, title: "Gateway: has no port left", shut: true,
			change: func(in *ops.Input) {
				in.Parts.Gateway.LeaseError, in.Parts.Gateway.LeaseErrorAt = &natpmp.ResultError{Result: natpmp.ResultOutOfResources}, noon()
			},
		},
		{name: "well", change: func(*ops.Input) {}, state: ops.StateOK, title: "Ready, no port is open yet"},
		{name: "stopping", change: func(in *ops.Input) { in.Parts.Stopping = true }, state: ops.StateDown, hop: ops.HopLAN, title: "doublenat is stopping"},
		{
			name: "starting", change: func(in *ops.Input) { in.Parts = ops.Parts{} },
			state: ops.StateUnknown, hop: ops.HopRouter, title: "doublenat is starting",
		},
		{
			name: "connected", change: func(in *ops.Input) { in.Parts.Router = router.Status{Connected: true} },
			state: ops.StateUnknown, hop: ops.HopRouter, title: "doublenat is starting",
		},
		{
			name: "not compared yet", change: func(in *ops.Input) { in.Parts.Core = nat.Status{} },
			state: ops.StateUnknown, hop: ops.HopRouter, title: "doublenat is starting",
		},
		{
			name: "nearer hop first", change: func(in *ops.Input) {
				in.Parts.Router = router.Status{LastError: broken}
				in.Parts.Gateway = gateway.Stats{State: gateway.StateSilent, Advice: remedy.Advice{Text: "check the route"}}
			},
			state: ops.StateDown, hop: ops.HopRouter, title: "Router: not reachable", remedy: "is the router up",
		},
		{
			name: "down before degraded", change: func(in *ops.Input) {
				in.About.ReadOnly = true
				in.Parts.Gateway = gateway.Stats{State: gateway.StateSilent, Advice: remedy.Advice{Text: "check the route"}}
			},
			state: ops.StateDown, hop: ops.HopGateway, title: "Gateway: silent", remedy: "check the route",
		},
		{
			name: "read-only", change: func(in *ops.Input) { in.About.ReadOnly = true },
			state: ops.StateDegraded, hop: ops.HopLAN, title: "LAN: read-only, clients are refused", remedy: "READ_ONLY",
			shut: true,
		},
		{
			name: "answers lost", change: func(in *ops.Input) { in.Parts.Server.SendErrors = 3; in.Before.SendErrors = 2 },
			state: ops.StateDown, hop: ops.HopLAN, title: "LAN: answers cannot be sent", remedy: "firewall",
		},
		{
			name: "one answer of many lost", change: func(in *ops.Input) {
				in.Parts.Server.SendErrors, in.Parts.Server.Replies, in.Before.Replies = 1, 8, 7
			},
			state: ops.StateDegraded, hop: ops.HopLAN, title: "LAN: some answers cannot be sent", remedy: "firewall",
		},
		{
			name: "answers lost since others went out", change: func(in *ops.Input) {
				in.Parts.Server.SendErrors, in.Parts.Server.Replies, in.Before.Replies = 1, 7, 7
			},
			state: ops.StateDown, hop: ops.HopLAN, title: "LAN: answers cannot be sent", remedy: "firewall",
		},
		{
			name: "answers were lost", change: func(in *ops.Input) { in.Parts.Server.SendErrors = 3; in.Before.SendErrors = 3 },
			state: ops.StateOK, title: "Ready, no port is open yet",
		},
		{
			name: "crowded", change: func(in *ops.Input) { in.Parts.Server.Crowded = 1 },
			state: ops.StateDegraded, hop: ops.HopLAN, title: "LAN: replies pile up for hosts that do not exist", remedy: "ALLOWED_CLIENTS",
		},
		{
			name: "deaf", change: func(in *ops.Input) { in.Parts.Server.ReadErrors, in.Parts.Server.Received = 1, in.Before.Received },
			state: ops.StateDown, hop: ops.HopLAN, title: "LAN: requests cannot be read", remedy: "network",
		},
		{
			name: "odd", change: func(in *ops.Input) {
				in.Parts.Gateway.State, in.Parts.Gateway.Odd, in.Parts.Gateway.Advice = gateway.StateFailing, natpmp.OddCut, remedy.Advice{Text: "update it"}
			},
			state: ops.StateDown, hop: ops.HopGateway, title: "Gateway: its replies cannot be right", remedy: "update it",
		},
		{
			name: "overload", change: func(in *ops.Input) { in.Parts.Server.Overload = 1 },
			state: ops.StateDegraded, hop: ops.HopLAN, title: "LAN: more requests than doublenat can handle", remedy: "DENIED_CLIENTS",
		},
		{
			name: "panic", change: func(in *ops.Input) { in.Parts.Server.Panics = 1 },
			state: ops.StateDegraded, hop: ops.HopLAN, title: "LAN: requests failed inside doublenat", remedy: "report it",
		},
		{
			name: "old failure of a change", change: func(in *ops.Input) {
				in.Parts.Router.ChangeError, in.Parts.Router.ChangeErrorAt = broken, noon().Add(-10*time.Minute)
			},
			state: ops.StateOK, title: "Ready, no port is open yet",
		},
		{
			name: "failure of a change", change: func(in *ops.Input) {
				in.Parts.Router.ChangeError, in.Parts.Router.ChangeErrorAt = broken, noon().Add(-9*time.Minute)
			},
			state: ops.StateDown, hop: ops.HopRouter, title: "Router: the last rule could not be changed", remedy: "look at its log",
		},
		{
			name: "gateway's fault while comparing", change: func(in *ops.Input) { in.Parts.Core.ReconcileError = &nat.Error{Hop: nat.HopGateway, Err: broken} },
			state: ops.StateOK, title: "Ready, no port is open yet",
		},
		{
			name: "not compared lately", change: func(in *ops.Input) { in.Parts.Core.ReconcileSuccess = noon().Add(-4 * time.Minute) },
			state: ops.StateDegraded, hop: ops.HopRouter, title: "Router: takes minutes to list its rules", remedy: "CPU load",
		},
		{
			name: "only the address is denied", change: func(in *ops.Input) {
				in.Parts.Gateway.LookError = &natpmp.ResultError{Result: natpmp.ResultNotAuthorized}
			},
			state: ops.StateOK, title: "Ready, no port is open yet",
		},
		{
			name: "everything is denied", change: func(in *ops.Input) {
				in.Parts.Gateway.State = gateway.StateFailing
				in.Parts.Gateway.LookError = &natpmp.ResultError{Result: natpmp.ResultNotAuthorized}
			},
			state: ops.StateDown, hop: ops.HopGateway, title: "Gateway: allows no mappings", remedy: "allows no mappings",
		},
		{
			name: "gateway not heard lately", change: func(in *ops.Input) { in.Parts.Gateway.LastSuccess = noon().Add(-4 * time.Minute) },
			state: ops.StateDegraded, hop: ops.HopGateway, title: "Gateway: was not heard lately", remedy: "requests get lost",
		},
		{
			name: "something else than a gateway", change: func(in *ops.Input) {
				in.Parts.Gateway = gateway.Stats{State: gateway.StateFailing, Result: natpmp.ResultUnsupportedVersion, Advice: remedy.Advice{Text: "check the address"}}
			},
			state: ops.StateDown, hop: ops.HopGateway, title: "Gateway: answers with unsupported version", remedy: "check the address",
		},
		{
			name: "address not confirmed", change: func(in *ops.Input) { in.Parts.Gateway.AddressAt = noon().Add(-11 * time.Minute) },
			state: ops.StateDown, hop: ops.HopAddress, title: "Public address: not confirmed for 11m0s", remedy: "no public address",
		},
		{
			name: "address not told yet", change: func(in *ops.Input) {
				in.Parts.Gateway.Address, in.Parts.Gateway.AddressAt = netip.Addr{}, time.Time{}
			},
			state: ops.StateUnknown, hop: ops.HopAddress, title: "doublenat is starting",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := fine()
			tt.change(&in)
			v := ops.Assess(in).Verdict
			if v.State != tt.state || v.Hop != tt.hop || v.Title != tt.title || !strings.Contains(v.Remedy, tt.remedy) {
				t.Errorf("got %+v, want %s %q %q, remedy with %q", v, tt.state, tt.hop, tt.title, tt.remedy)
			}
			if ready := (tt.state == ops.StateOK || tt.state == ops.StateDegraded) && !tt.shut; v.Ready != ready {
				t.Errorf("ready is %v", v.Ready)
			}
		})
	}
}

func TestAssessKinds(t *testing.T) {
	t.Parallel()
	in := fine()
	key := func(port uint16) nat.Key { return nat.Key{Client: alice, Protocol: nat.UDP, InternalPort: port} }
	in.About.Static = map[nat.Key]bool{key(1): true}
	in.Parts.Gateway.Address = netip.Addr{}
	in.Parts.Mappings = []nat.Mapping{{Key: key(1), Adopted: true}, {Key: key(2), Adopted: true}, {Key: key(3), Companion: true}, {Key: key(4), Closing: true}}
	var got []ops.Kind
	s := ops.Assess(in)
	for _, m := range s.Mappings {
		got = append(got, m.Kind)
		if m.Public.IsValid() {
			t.Errorf("a public address without one: %v", m.Public)
		}
	}
	if diff := cmp.Diff([]ops.Kind{ops.KindStatic, ops.KindAdopted, ops.KindCompanion, ops.KindClient}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWriteText(t *testing.T) {
	t.Parallel()
	in := fine()
	in.Parts.Gateway.State, in.Parts.Gateway.Advice = gateway.StateSilent, remedy.Advice{Text: "check the route"}
	in.About.ReadOnly = true
	in.Since[ops.HopGateway] = ops.Since{State: ops.StateDown, At: noon().Add(-200 * time.Second)}
	in.Parts.Mappings = []nat.Mapping{
		{Key: nat.Key{Client: alice, Protocol: nat.TCP, InternalPort: 6881}, ExternalPort: 40000, LeaseUntil: noon().Add(45 * time.Second), Packets: 7, By: nat.IGD, Description: "Plex \x1b[2J" + strings.Repeat("x", 1<<16)},
		{Key: nat.Key{Client: bob, Protocol: nat.UDP, InternalPort: 9}, ExternalPort: 9, LeaseUntil: noon().Add(-time.Second), Closing: true, Remote: nat.Remote{Prefix: netip.MustParsePrefix("203.0.113.7/32")}},
		{Key: nat.Key{Client: bob, Protocol: nat.UDP}, ExternalPort: 40001, LeaseUntil: noon().Add(45 * time.Second)},
	}
	in.Events = []ops.Event{{ID: 2, Time: noon(), Text: "Gateway: silent"}, {ID: 1, Time: noon(), Text: "not shown"}}
	var b bytes.Buffer
	err := ops.WriteText(&b, ops.Assess(in), ops.TextOptions{Events: 1, Paint: func(s ops.State, text string) string {
		return map[ops.State]string{ops.StateDown: "<down>"}[s] + text
	}})
	want := `<down>✗ Gateway: silent
  10.2.0.1:5351
  What to do: check the route

! LAN             -       read-only, clients are refused  on 0.0.0.0:5351
    Open ports work until their leases end: clients cannot renew them. The first lease ends at 2026-11-22 12:00:45 UTC.
    What to do: unset READ_ONLY and DRY_RUN once the log shows what you want
✓ Router          1.2 ms  rules can be made               hAP ax^3, RouterOS 7.22 (stable), rules on wg1
<down>✗ Gateway         -       silent                          10.2.0.1:5351
    Since 2026-11-22 11:56:40 UTC (3m20s). Open ports work until their leases end, if packets still get through. The first lease ends at 2026-11-22 12:00:45 UTC.
… Public address  -       waits for the gateway           last known: 5.6.7.8

PUBLIC         PROTO  CLIENT               LEASE ENDS  PACKETS  BY   KIND
5.6.7.8:40000  tcp    192.168.88.10:6881   in 45s      7        igd  client: Plex \x1b[2Jxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
5.6.7.8:9      udp    192.168.88.11:9      overdue     0        -    client, closing, only from 203.0.113.7
5.6.7.8:40001  udp    192.168.88.11:40001  in 45s      0        -    client

2026-11-22 12:00:00 UTC  Gateway: silent
`
	if diff := cmp.Diff(want, b.String()); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// What hosts of the LAN call their mappings is text, short, and in one direction.
func TestAssessDescriptions(t *testing.T) {
	t.Parallel()
	in := fine()
	texts := hostileTexts()
	for i, text := range texts {
		in.Parts.Mappings = append(in.Parts.Mappings, nat.Mapping{Key: nat.Key{Client: alice, Protocol: nat.TCP, InternalPort: uint16(i + 1)}, By: nat.Way(i % 4), Description: text})
	}
	s := ops.Assess(in)
	for i, m := range s.Mappings {
		if m.Description != foreign.Text(m.Description) || len([]rune(m.Description)) > 65*10 || strings.Contains(m.Description, "\u202e") {
			t.Errorf("%.100q is shown as %.200q", texts[i], m.Description)
		}
		if want := []string{"", "natpmp", "pcp", "igd"}[i%4]; m.By != want {
			t.Errorf("by %q, want %q", m.By, want)
		}
	}
}

// hostileTexts are descriptions that a host of the LAN might give.
func hostileTexts() []string {
	return []string{
		"Plex Media Server", "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>",
		"\x1b[2J\x1b]0;owned\x07", strings.Repeat("a", 64<<10), "\u202eevil\u2066 \u200f\u05d0\u05d1", "a\nb\r\nEvent: forged", "\xff\xfe\x00", "&lt;b&gt;", strings.Repeat("\u0301", 500),
	}
}

// A request of PCP whose address somebody replaced is told for ten minutes, with what helps.
func TestAssessMismatch(t *testing.T) {
	t.Parallel()
	in := fine()
	in.Parts.Frontend.Mismatches, in.Mismatched = 3, noon().Add(-9*time.Minute)
	s := ops.Assess(in)
	if v := s.Verdict; v.Title != "LAN: something replaces clients' addresses" || !strings.HasPrefix(v.Detail, "3 requests of PCP ") || !v.Ready ||
		!strings.Contains(v.Remedy, "masquerade") || !strings.Contains(v.Remedy, "doublenat check") {
		t.Errorf("%+v", v)
	}
	in.Mismatched = noon().Add(-11 * time.Minute)
	if v := ops.Assess(in).Verdict; v.State != ops.StateOK {
		t.Errorf("later: %+v", v)
	}
}

// The monitor notes when there was another mismatch.
func TestMismatchIsNoted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parts := fine().Parts
		m, err := ops.NewMonitor(ops.MonitorConfig{Parts: func() ops.Parts {
			parts.Gateway.LastSuccess, parts.Gateway.AddressAt, parts.Core.ReconcileSuccess = time.Now(), time.Now(), time.Now()
			return parts
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			mismatches uint64
			after      time.Duration
			want       ops.State
		}{{0, 0, ops.StateOK}, {1, time.Minute, ops.StateDegraded}, {1, 9 * time.Minute, ops.StateDegraded}, {1, 2 * time.Minute, ops.StateOK}, {2, time.Hour, ops.StateDegraded}} {
			time.Sleep(step.after)
			parts.Frontend.Mismatches = step.mismatches
			if got := m.Status().Hops[0].State; got != step.want {
				t.Errorf("%+v: %s", step, got)
			}
		}
	})
}
