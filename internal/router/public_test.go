package router_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// Without a gateway rules go to the interface that is named, be it the line to the Internet;
// the router says which addresses it has there, and how the Internet sees it.
func TestWithoutAGateway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		iface, own, cloud string
	}{
		{routerostest.WANInterface, routerostest.WANAddress, routerostest.WANAddress},
		{routerostest.TunnelInterface, "10.2.0.2", ""},
	} {
		t.Run(tt.iface, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{}, func(cfg *router.Config) {
					cfg.Gateway, cfg.InInterface = netip.Addr{}, tt.iface
				}).settled(t)
				rule := r.add(t, wanted("192.168.88.10", 80))
				if row := r.box.Rows(natPath); !slices.ContainsFunc(row, func(row routerostest.Row) bool {
					return row[".id"] == rule.ID && row["in-interface"] == tt.iface
				}) {
					t.Errorf("no rule %s on %s: %v", rule.ID, tt.iface, row)
				}
				if got := r.OwnAddresses(); !slices.Equal(got, []netip.Addr{netip.MustParseAddr(tt.own)}) {
					t.Errorf("its addresses are %v, want %s", got, tt.own)
				}
				want, _ := netip.ParseAddr(tt.cloud)
				if got, err := r.CloudAddress(t.Context()); err != nil || got != want {
					t.Errorf("the cloud says %v, %v, want %v", got, err, want)
				}
			})
		})
	}
}

// An interface that does not exist is named in the error, and one has to be named.
func TestWithoutAGatewayOrAnInterface(t *testing.T) {
	t.Parallel()
	if _, err := router.New(router.Config{Instance: "default"}); err == nil {
		t.Error("neither a gateway nor an interface, and no error")
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}, func(cfg *router.Config) { cfg.Gateway, cfg.InInterface = netip.Addr{}, "pppoe-out1" })
		_, err := r.AddRule(t.Context(), wanted("192.168.88.10", 80))
		if e := natError(t, err); !strings.Contains(e.Error(), `the router has no interface "pppoe-out1"`) {
			t.Errorf("got %v", e)
		}
	})
}

// The address by which a gateway knows the router is the one in its network, of several.
func TestSelf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ gateway, want string }{
		{"192.168.1.1", "192.168.1.2"}, // added by the test
		{"198.51.100.1", routerostest.WANAddress},
		{routerostest.GatewayAddress, "10.2.0.2"},
	} {
		t.Run(tt.gateway, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				box, err := routerostest.New(routerostest.Config{})
				if err != nil {
					t.Fatal(err)
				}
				put(t, box, "/ip/address", routerostest.Row{"address": "192.168.1.2/24", "network": "192.168.1.0", "interface": routerostest.WANInterface})
				put(t, box, "/ip/route", routerostest.Row{"dst-address": "192.168.1.0/24", "gateway": routerostest.WANInterface})
				r := rigOn(t, box, func(cfg *router.Config) {
					cfg.Gateway, cfg.Place = netip.MustParseAddr(tt.gateway), router.PlaceAnywhere
				})
				if got, _ := r.Self(); got.IsValid() {
					t.Errorf("%v before a look", got)
				}
				r.settled(t)
				if got, towards := r.Self(); got.String() != tt.want || towards.String() != tt.gateway {
					t.Errorf("got %v, want %s", got, tt.want)
				}
			})
		})
	}
}
