package check_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// pooled tells the doctor of a pool instead of a gateway.
func (r *rig) pooled(iface string, ports ...uint16) {
	r.t.Helper()
	var list []nat.PoolPort
	for _, p := range ports {
		list = append(list, nat.PoolPort{External: p, Inner: p})
	}
	pool, err := nat.NewPool(list)
	if err != nil {
		r.t.Fatal(err)
	}
	r.cfg.Pool, r.cfg.InInterface, r.cfg.Gateway, r.cfg.DialGateway = pool, iface, netip.AddrPort{}, nil
}

// With a pool nobody beyond the router is asked, and the line to the Internet is no mistake.
func TestPool(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		iface string
		ports []uint16
		set   func(r *rig)
		good  string
		kind  string // of the one finding that is not good, "" for none
	}{
		{name: "at the line", iface: routerostest.WANInterface, ports: []uint16{51413, 6881}, good: "the router's own on ether1"},
		{name: "by hand", iface: routerostest.WANInterface, ports: []uint16{51413}, set: func(r *rig) { r.cfg.Public = netip.MustParseAddr("9.8.7.6") }, good: "9.8.7.6, by PUBLIC_ADDRESS"},
		{name: "at a tunnel", iface: routerostest.TunnelInterface, ports: []uint16{51413}, kind: string(check.KindPoolAddress)},
		{name: "none", iface: routerostest.WANInterface, kind: string(check.KindPoolTaken)},
		{name: "a service has one", iface: routerostest.WANInterface, ports: []uint16{8291, 51413}, kind: string(check.KindPoolTaken)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{})
				r.pooled(tt.iface, tt.ports...)
				if tt.set != nil {
					tt.set(r)
				}
				report := r.check()
				var all, kinds []string
				for _, f := range report.Findings {
					all = append(all, f.Level.String()+" "+f.Seen)
					// One client of this router is sent into the tunnel: its replies are astray
					// at the line indeed.
					if f.Level != check.OK && f.Advice.Kind != "replies astray" {
						kinds = append(kinds, string(f.Advice.Kind))
					}
				}
				text := strings.Join(all, "\n")
				if got := strings.Join(kinds, " "); got != tt.kind {
					t.Errorf("found %q, want %q:\n%s", got, tt.kind, text)
				}
				if !strings.Contains(text, tt.good) || !strings.Contains(text, "ports of the pool arrive at "+tt.iface) {
					t.Errorf("no %q in:\n%s", tt.good, text)
				}
				if n := len(r.Gateway.Journal()); n > 0 {
					t.Errorf("%d packets for a gateway", n)
				}
			})
		})
	}
}

// A gateway that speaks something else is asked in its own language, from the router's own
// address, and may be at the line to the Internet.
func TestOtherLanguages(t *testing.T) {
	t.Parallel()
	at := netip.MustParseAddrPort("198.51.100.1:5351")
	for _, tt := range []struct {
		name   string
		answer netip.Addr
		err    error
		want   []string
	}{
		{name: "tells", answer: netip.MustParseAddr("9.8.7.6"), want: []string{"ok ether1 leads to the gateway, by /ip/route", "ok 198.51.100.1:5351 answers UPnP", "ok the public address is 9.8.7.6"}},
		{name: "does not tell", want: []string{"ok 198.51.100.1:5351 answers UPnP, which tells the public address with mappings only"}},
		{name: "private", answer: netip.MustParseAddr("192.168.5.5"), want: []string{"warn the gateway's address 192.168.5.5 is not one of the Internet"}},
		{name: "silent", err: context.DeadlineExceeded, want: []string{"fail context deadline exceeded"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{})
				var asked []string
				r.cfg.Gateway, r.cfg.DialGateway, r.cfg.Speaks, r.cfg.Place = at, nil, "UPnP", router.PlaceAnywhere
				r.cfg.Ask = func(_ context.Context, self netip.Addr) (netip.Addr, error) {
					asked = append(asked, self.String())
					return tt.answer, tt.err
				}
				report := r.check()
				var text strings.Builder
				for _, f := range report.Findings {
					fmt.Fprintf(&text, "%v %s\n", f.Level, f.Seen)
				}
				for _, want := range tt.want {
					if !strings.Contains(text.String(), want) {
						t.Errorf("no %q in:\n%s", want, text.String())
					}
				}
				if len(asked) != 1 || asked[0] != routerostest.WANAddress {
					t.Errorf("asked from %v, want once from %s", asked, routerostest.WANAddress)
				}
			})
		})
	}
}

// Who does not answer in the language that is set is asked in the others, and the line that
// helps is printed. With auto, all are asked, and it is said which are answered.
func TestWhichLanguages(t *testing.T) {
	t.Parallel()
	answers := func(ctx context.Context, _ netip.Addr) (netip.Addr, error) {
		return netip.MustParseAddr("9.8.7.6"), ctx.Err()
	}
	silent := func(ctx context.Context, _ netip.Addr) (netip.Addr, error) {
		<-ctx.Done()
		return netip.Addr{}, ctx.Err()
	}
	for _, tt := range []struct {
		name   string
		ask    func(context.Context, netip.Addr) (netip.Addr, error)
		others []check.Language
		want   string
		advice string
	}{
		{
			"another one", silent,
			[]check.Language{{Name: "PCP", Line: "VPN_GATEWAY=pcp://10.2.0.1", Ask: silent}, {Name: "UPnP", Line: "VPN_GATEWAY=igd://10.2.0.1", Ask: answers}},
			"fail 10.2.0.1 does not answer NAT-PMP, and answers UPnP", "set VPN_GATEWAY=igd://10.2.0.1",
		},
		{"none", silent, []check.Language{{Name: "PCP", Ask: silent}}, "fail context deadline exceeded", ""},
		{
			"auto", nil,
			[]check.Language{{Name: "NAT-PMP", Line: "VPN_GATEWAY=natpmp://10.2.0.1", Ask: answers}, {Name: "PCP", Ask: silent}},
			"ok 10.2.0.1 answers NAT-PMP; VPN_GATEWAY=natpmp://10.2.0.1 asks it so at once", "",
		},
		{"auto, silent", nil, []check.Language{{Name: "PCP", Ask: silent}}, "fail the gateway answers in no language that doublenat knows", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{})
				r.cfg.DialGateway, r.cfg.Ask, r.cfg.Others = nil, tt.ask, tt.others
				var text strings.Builder
				for _, f := range r.check().Findings {
					fmt.Fprintf(&text, "%v %s | %s\n", f.Level, f.Seen, f.Advice.Text)
				}
				if !strings.Contains(text.String(), tt.want) || !strings.Contains(text.String(), tt.advice) {
					t.Errorf("no %q in:\n%s", tt.want, text.String())
				}
			})
		})
	}
}
