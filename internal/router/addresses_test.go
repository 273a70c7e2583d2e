package router_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// Nothing is ever forwarded to the router itself: not to its LAN address, not to
// its end of the tunnel, not to one that it got since the last connection.
func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{})
		if r.Owns(netip.MustParseAddr(routerostest.LANAddress)) {
			t.Error("an address is known before the router was asked")
		}
		r.settled(t)
		const later = "192.168.90.1"
		if _, err := r.box.Add("/ip/address", routerostest.Row{"address": later + "/24", "interface": "bridge"}); err != nil {
			t.Fatal(err)
		}
		r.reboot(t)
		for _, own := range []string{routerostest.LANAddress, routerostest.TunnelAddress, routerostest.WANAddress, "172.30.254.1", later} {
			if !r.Owns(netip.MustParseAddr(own)) {
				t.Errorf("%s is not known as the router's", own)
			}
			mark := r.box.Mark()
			_, err := r.AddRule(t.Context(), wanted(own, 6881))
			if e := natError(t, err); e.Reason != nat.ReasonDenied || e.Ambiguous {
				t.Errorf("a rule for %s: %v", own, err)
			}
			if did := r.commands(mark); len(did) > 0 {
				t.Errorf("the router was sent %v", did)
			}
		}
		if r.Owns(netip.MustParseAddr("192.168.88.10")) {
			t.Error("a client is taken for the router")
		}
	})
}

// An address that the router gets while it is connected is known half a minute later,
// and so is one that it loses. Whoever had it is no client any more: its rule counts as
// altered, and the core is told to look, so that it goes.
func TestOwnAddressesOfNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var doubts atomic.Int32
		r := newRig(t, routerostest.Config{}, func(cfg *router.Config) { cfg.OnDoubt = func() { doubts.Add(1) } }).settled(t)
		const later = "192.168.88.10"
		r.add(t, wanted(later, 6881))
		id, err := r.box.Add("/ip/address", routerostest.Row{"address": later + "/24", "interface": "bridge"})
		if err != nil {
			t.Fatal(err)
		}
		mark := r.box.Mark()
		if rules := r.rules(t); rules[0].Altered || r.Owns(netip.MustParseAddr(later)) {
			t.Error("known at once: every look reads the addresses")
		}
		time.Sleep(31 * time.Second)
		made := r.add(t, wanted("192.168.88.11", 6882))
		if err := r.RemoveRule(t.Context(), made); err != nil {
			t.Fatal(err)
		}
		if did := r.box.StatsSince(mark); did.Writes != 2 || did.Commands != 12 { // a look, the surroundings, an add, a find and a remove
			t.Errorf("a mapping and a look cost %+v, want 2 writes of 12 commands", did)
		}
		if n := doubts.Load(); n != 1 || !r.Owns(netip.MustParseAddr(later)) {
			t.Errorf("told %d times to look, want once", n)
		}
		for range 3 {
			if rules := r.rules(t); !rules[0].Altered || !r.Owns(netip.MustParseAddr(later)) {
				t.Errorf("not known after a look: %+v", rules)
			}
		}
		if did := r.box.StatsSince(mark); did.Commands != 17 {
			t.Errorf("%d commands, want 17: 3 looks, the surroundings and the rights once", did.Commands)
		}
		if _, err := r.AddRule(t.Context(), wanted(later, 6882)); natError(t, err).Reason != nat.ReasonDenied {
			t.Errorf("a rule for it: %v", err)
		}
		if err := r.box.Remove("/ip/address", id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second)
		if rules := r.rules(t); rules[0].Altered {
			t.Errorf("the router's although it has lost it: %+v", rules)
		}
	})
}

// Looking again must not make the router forget what it told before: not by a
// refusal, and not by a reply that is lost.
func TestOwnAddressesAreKept(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]routerostest.Fault{
		"refused": {Kind: routerostest.FaultTrap, Command: "/ip/address/print", Message: "no such command"},
		"lost":    {Kind: routerostest.FaultClose, Command: "/ip/address/print"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{}).settled(t)
				time.Sleep(time.Minute)
				r.box.Inject(fault)
				_, _ = r.Rules(t.Context()) // of a connection that is lost it has nothing to tell
				if !r.Owns(netip.MustParseAddr(routerostest.LANAddress)) {
					t.Error("forgotten")
				}
				time.Sleep(time.Minute)
				r.settled(t)
				if !r.Owns(netip.MustParseAddr(routerostest.LANAddress)) {
					t.Error("forgotten a minute later")
				}
			})
		})
	}
}

// What is no host of the LAN gets no rule, whoever asks for one.
func TestForbiddenAddresses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		api  string // "" for one in memory
		to   []string
		want bool
	}{
		{"", []string{
			"0.0.0.0", "224.0.0.1", "239.255.255.250", "255.255.255.255", "127.0.0.1", "127.1.2.3",
			routerostest.GatewayAddress, routerostest.LANAddress, routerostest.TunnelAddress,
			"0.1.2.3", "240.0.0.1", "192.168.88.0", "192.168.88.255", "198.51.100.0", "198.51.100.3", "172.30.254.3",
		}, false},
		{"192.168.88.1:8728", []string{"127.0.0.1"}, false},
		{"router.lan:8728", []string{"127.0.0.1"}, false},
		{"127.88.0.1:8728", []string{"127.0.0.1", "127.88.0.10", "192.168.88.10"}, true},
		{"localhost:8728", []string{"127.0.0.1"}, true},
		{"[::1]:8728", []string{"127.0.0.1"}, true},
		{"[::1]:8728", []string{"0.0.0.0", "255.255.255.255", routerostest.GatewayAddress, routerostest.LANAddress}, false},
		{"", []string{"192.168.88.10", "10.2.0.7", "192.168.89.255", "192.168.88.254", "10.2.0.3"}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, routerostest.Config{}, func(cfg *router.Config) { cfg.API.Address = tt.api }).settled(t)
			for i, to := range tt.to {
				mark := r.box.Mark()
				_, err := r.AddRule(t.Context(), wanted(to, 6881+uint16(i)))
				if (err == nil) != tt.want {
					t.Errorf("API at %q: a rule to %s: %v", tt.api, to, err)
				}
				if err == nil {
					continue
				}
				if e := natError(t, err); e.Reason != nat.ReasonDenied || e.Ambiguous || len(r.commands(mark)) > 0 {
					t.Errorf("API at %q: a rule to %s: %v, and %v", tt.api, to, err, r.commands(mark))
				}
			}
		})
	}
}
