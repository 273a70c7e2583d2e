package router_test

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// onDefaultRoute runs a test with a Router that takes the gateway of the default route.
func onDefaultRoute(t *testing.T, version string, test func(t *testing.T, r *rig, told *atomic.Int64)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		told := new(atomic.Int64)
		r := newRig(t, routerostest.Config{Version: version}, func(cfg *router.Config) {
			cfg.Gateway, cfg.Place = netip.Addr{}, router.PlaceDefaultRoute
			cfg.OnGateway = func() { told.Add(1) }
		})
		test(t, r, told)
	})
}

// lead makes another the default route's gateway.
func (r *rig) lead(t *testing.T, to string) {
	t.Helper()
	for _, row := range r.box.Rows("/ip/route") {
		if row["dst-address"] == "0.0.0.0/0" && row["routing-table"] != "vpn" && row["routing-mark"] != "vpn" {
			if err := r.box.Set("/ip/route", row[".id"], routerostest.Row{"gateway": to}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// self says from where which gateway sees the router.
func (r *rig) self() string {
	self, towards := r.Self()
	return self.String() + " towards " + towards.String()
}

// The gateway of the default route is found on each version, rules go to its interface, and
// nothing is forwarded to it.
func TestGatewayOfTheDefaultRoute(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"6.49", "7.12", "7.22"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			onDefaultRoute(t, version, func(t *testing.T, r *rig, told *atomic.Int64) {
				t.Helper()
				r.settled(t)
				synctest.Wait() // the callback comes beside the first answer
				if got := r.Gateway().String(); got != "198.51.100.1" || told.Load() != 1 {
					t.Fatalf("the gateway is %s, told %d times", got, told.Load())
				}
				if iface, self := r.Status().InInterface, r.self(); iface != routerostest.WANInterface || self != routerostest.WANAddress+" towards 198.51.100.1" {
					t.Errorf("reached by %s from %s", iface, self)
				}
				_, err := r.AddRule(t.Context(), wanted("198.51.100.1", 80))
				if e := natError(t, err); !strings.Contains(e.Error(), "the gateway's") {
					t.Errorf("a rule to the gateway: %v", e)
				}
			})
		})
	}
}

// Another gateway counts once it has been there for a while, and is told; none leaves the
// last one. Rules follow to its interface.
func TestGatewayOfTheDefaultRouteMoves(t *testing.T) {
	t.Parallel()
	onDefaultRoute(t, "7.22", func(t *testing.T, r *rig, told *atomic.Int64) {
		t.Helper()
		r.settled(t)
		rule := r.add(t, wanted("192.168.88.10", 80))
		put(t, r.box, "/interface", routerostest.Row{"name": "ether9", "type": "ether"})
		put(t, r.box, "/ip/address", routerostest.Row{"address": "192.168.7.2/24", "network": "192.168.7.0", "interface": "ether9"})
		put(t, r.box, "/ip/route", routerostest.Row{"dst-address": "192.168.7.0/24", "gateway": "ether9", "connect": "true", "dynamic": "true"})

		r.lead(t, "192.168.7.1")
		time.Sleep(31 * time.Second)
		r.lead(t, "198.51.100.1") // it was for a moment
		time.Sleep(2 * time.Minute)
		if got := r.Gateway().String(); got != "198.51.100.1" || told.Load() != 1 {
			t.Errorf("after a moment the gateway is %s, told %d times", got, told.Load())
		}
		r.lead(t, "192.168.7.1")
		time.Sleep(time.Minute)
		if got := r.Gateway().String(); got != "192.168.7.1" || told.Load() != 2 || r.self() != "192.168.7.2 towards 192.168.7.1" {
			t.Fatalf("the gateway is %s, from %s, told %d times", got, r.self(), told.Load())
		}
		if row, ok := r.box.Find(natPath, ".id", rule.ID); !ok || row["in-interface"] != "ether9" {
			t.Errorf("the rule is %v", row)
		}
		r.lead(t, "ether9")
		time.Sleep(2 * time.Minute)
		if got := r.Gateway().String(); got != "192.168.7.1" || told.Load() != 2 {
			t.Errorf("without a gateway it is %s, told %d times", got, told.Load())
		}
		if n := strings.Count(r.log.String(), "no longer has a gateway address"); n != 1 {
			t.Errorf("the log says so %d times", n)
		}
	})
}

// A default route that names an interface is an error that says what to set, until it is
// another one.
func TestDefaultRouteWithoutAGateway(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{"ether1": "leads through ether1, and has no address", "pppoe-gone": "no default route in use"} {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			onDefaultRoute(t, "7.22", func(t *testing.T, r *rig, _ *atomic.Int64) {
				t.Helper()
				r.lead(t, to)
				_, err := r.AddRule(t.Context(), wanted("192.168.88.10", 80))
				if e := natError(t, err); !strings.Contains(e.Error(), want) || !strings.Contains(e.Error(), "set VPN_GATEWAY=auto://") {
					t.Errorf("got %v, want %q", e, want)
				}
				if r.Gateway().IsValid() {
					t.Errorf("the gateway is %v", r.Gateway())
				}
				r.lead(t, "198.51.100.1")
				time.Sleep(time.Minute)
				r.add(t, wanted("192.168.88.10", 80))
			})
		})
	}
}
