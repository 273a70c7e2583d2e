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
	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// The gateway of the default route is named, asked in all languages, and the line that says
// its language at once is printed. Without one, that is said, and nobody is asked.
func TestGatewayOfTheDefaultRoute(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, version, gateway string
		want                   []string
		asked                  bool
	}{
		{
			"an address", "7.22", "198.51.100.1",
			[]string{"ok the gateway is 198.51.100.1, that of the router's default route", "ok 198.51.100.1 answers PCP; VPN_GATEWAY=pcp://198.51.100.1 asks it so at once"},
			true,
		},
		{"of RouterOS 6", "6.49", "198.51.100.1", []string{"ok the gateway is 198.51.100.1, that of the router's default route"}, true},
		{"an interface", "7.22", "ether1", []string{"fail gateway unknown: the router's default route leads through ether1", "set VPN_GATEWAY=auto:// and the address of the box"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{Router: routerostest.Config{Version: tt.version}})
				r.set("/ip/route", "gateway", "198.51.100.1", routerostest.Row{"gateway": tt.gateway})
				asked := 0
				r.cfg.Gateway, r.cfg.DialGateway, r.cfg.Place = netip.AddrPort{}, nil, router.PlaceDefaultRoute
				r.cfg.Find = func(gateway netip.AddrPort) []check.Language {
					line := "VPN_GATEWAY=pcp://" + gateway.Addr().String()
					return []check.Language{{Name: "PCP", Line: line, Ask: func(_ context.Context, self netip.Addr) (netip.Addr, error) {
						if asked++; self.String() != routerostest.WANAddress {
							return netip.Addr{}, fmt.Errorf("asked from %v", self)
						}
						return netip.MustParseAddr("9.8.7.6"), nil
					}}}
				}
				var text strings.Builder
				for _, f := range r.check().Findings {
					fmt.Fprintf(&text, "%v %s | %s\n", f.Level, f.Seen, f.Advice.Text)
				}
				for _, want := range tt.want {
					if !strings.Contains(text.String(), want) {
						t.Errorf("no %q in:\n%s", want, text.String())
					}
				}
				if (asked == 1) != tt.asked {
					t.Errorf("the gateway was asked %d times", asked)
				}
			})
		})
	}
}
