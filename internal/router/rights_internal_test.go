package router

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
)

func TestParseRights(t *testing.T) {
	t.Parallel()
	for policies, want := range map[string]rights{
		"read,write,api,test":                     {group: "g"},
		"!local,read,!ftp,write,api,test,!policy": {group: "g"},
		"":                                    {group: "g", missing: []string{"read", "write", "api", "test"}},
		"!read,write,api":                     {group: "g", missing: []string{"read", "test"}},
		"read,write,api,test,ssh,!ftp,policy": {group: "g", excess: []string{"ssh", "policy"}},
	} {
		if diff := cmp.Diff(want, parseRights("g", policies), cmp.AllowUnexported(rights{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", policies, diff)
		}
	}
}

// FuzzRows gives texts to all that reads the router's rows of addresses, routes and
// groups. None may panic, and what comes out must have been in the text.
func FuzzRows(f *testing.F) {
	for _, seed := range []string{
		"10.2.0.2/32", "192.168.88.1/24", "10.2.0.1%wg1", "10.2.0.1%wg1,10.3.0.1%wg2", "wg1", "10.2.0.1 reachable via  wg1",
		"wg1 reachable", "10.2.0.1 recursive via 192.0.2.1 ether1", "10.2.0.1 unreachable", "read,write,!ftp", ",", "%", "\xff/8",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		row := func(names ...string) routeros.Row {
			var r routeros.Row
			for _, name := range names {
				r = append(r, routeros.Attr{Name: name, Value: text})
			}
			return r
		}
		known := parseAddressRows([]routeros.Row{row("address")})
		for a := range known.own {
			if !strings.Contains(text, "/") || !a.IsValid() {
				t.Errorf("%q has the address %v", text, a)
			}
		}
		rows := []routeros.Row{row("dst-address", "gateway"), row("immediate-gw"), row("gateway-status")}
		for _, r := range rows {
			for _, name := range Exits(r) {
				if !strings.Contains(text, name) {
					t.Errorf("%q leads to %q", text, name)
				}
			}
		}
		found := parseRights("g", text)
		if len(found.missing) > 4 || slices.Contains(found.excess, "write") {
			t.Errorf("%q gives the rights %+v", text, found)
		}
		_ = findWay(rows, netip.MustParseAddr("10.2.0.1"))
		_ = findNetwork(rows, netip.MustParseAddr("10.2.0.1"))
	})
}
