package router_test

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// setUp types what `doublenat setup` prints for a version into its test router.
func setUp(t *testing.T, version, golden string) *rig {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "setup", "testdata", golden+".rsc"))
	if err != nil {
		t.Fatal(err)
	}
	box := newBox(t, routerostest.Config{Version: version})
	box.Console(routerostest.AdminUser).Paste(string(text)) // The user is there already.
	return rigOn(t, box)
}

// targets returns where the rules with our comments lead.
func targets(box *routerostest.Router) map[string]string {
	found := make(map[string]string)
	for _, row := range box.Rows(natPath) {
		if row["comment"] == router.RedirectNATPMP || row["comment"] == router.RedirectUPnP {
			found[row["protocol"]+" "+row["dst-port"]+" "+row["comment"]] = row["to-addresses"]
		}
	}
	return found
}

// TestPointRedirects points what setup prints to another host, and nothing else.
func TestPointRedirects(t *testing.T) {
	t.Parallel()
	const other = "172.30.254.6"
	mapping := map[string]string{"udp 5351 NAT-PMP to doublenat": other}
	all := map[string]string{"udp 5351 NAT-PMP to doublenat": other, "udp 1900 UPnP to doublenat": other, "tcp 5351 UPnP to doublenat": other}
	for golden, want := range map[string]map[string]string{
		"container-7.12": mapping, "container-7.24": mapping, "host-6.49": mapping, "host-7.22": mapping,
		"upnp-7.12": all, "upnp-7.24": all, "upnp-bridge-7.24": all, "upnp-host-6.49": all, "upnp-host-7.22": all,
	} {
		t.Run(golden, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := setUp(t, golden[strings.LastIndexByte(golden, '-')+1:], golden)
				ours := func(row routerostest.Row) bool { return strings.HasSuffix(row["comment"], " to doublenat") }
				foreign, filter := string(r.box.Fingerprint(natPath, ours)), string(r.box.Fingerprint("/ip/firewall/filter", nil))
				for round, writes := range []int{len(want), 0} {
					mark := r.box.Mark()
					moved, err := r.PointRedirects(t.Context(), netip.MustParseAddr(other))
					if err != nil || moved != writes {
						t.Errorf("round %d: moved %d of %d, error %v", round, moved, len(want), err)
					}
					if got := r.box.StatsSince(mark).Writes; got != uint64(writes) {
						t.Errorf("round %d: %d writes", round, got)
					}
				}
				if diff := cmp.Diff(want, targets(r.box)); diff != "" {
					t.Errorf("redirects (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(foreign, string(r.box.Fingerprint(natPath, ours))); diff != "" {
					t.Errorf("rules of others (-before +after):\n%s", diff)
				}
				if string(r.box.Fingerprint("/ip/firewall/filter", nil)) != filter {
					t.Error("changed the filter")
				}
			})
		})
	}
}

// TestRedirectsThatStay has every router on which no redirect is touched, and the remedy.
func TestRedirectsThatStay(t *testing.T) {
	t.Parallel()
	const nat = "NAT-PMP to doublenat"
	our := routerostest.Row{"chain": "dstnat", "action": "dst-nat", "protocol": "udp", "dst-port": "5351", "in-interface-list": "LAN", "to-addresses": "192.168.88.9", "comment": nat}
	with := func(changes ...string) routerostest.Row {
		row := maps.Clone(our)
		for i := 0; i < len(changes); i += 2 {
			row[changes[i]] = changes[i+1]
		}
		return row
	}
	for name, tt := range map[string]struct {
		rows         []routerostest.Row
		says, remedy string
		mends        bool // the commands are all that it takes
	}{
		"without the comment": {nil, "redirects NAT-PMP without the comment", "comment=\"NAT-PMP to doublenat\"", true},
		"two":                 {[]routerostest.Row{our, with("to-addresses", "192.168.88.8")}, "more than one rule", "print where comment=", false},
		"two kinds":           {[]routerostest.Row{our, with("protocol", "tcp")}, "more than one rule", "remove all but one", false},
		"two for UPnP":        {[]routerostest.Row{our, with("comment", "UPnP to doublenat", "dst-port", "1900"), with("comment", "UPnP to doublenat", "dst-port", "1900")}, "udp port 1900", "UPnP to doublenat", false},
		"disabled":            {[]routerostest.Row{with("disabled", "yes")}, "is disabled", "/ip firewall nat enable", true},
		"another action":      {[]routerostest.Row{with("action", "redirect")}, "without the comment", "comment=", true},
		"nearly the comment":  {[]routerostest.Row{with("comment", nat+" ")}, "without the comment", "comment=", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{})
				for _, row := range tt.rows {
					put(t, r.box, natPath, row)
				}
				before, mark := string(r.box.Fingerprint(natPath, nil)), r.box.Mark()
				moved, err := r.PointRedirects(t.Context(), netip.MustParseAddr("192.168.88.5"))
				refusal, ok := errors.AsType[*router.RedirectError](err)
				if !ok || moved != 0 || !strings.Contains(refusal.Error(), tt.says) {
					t.Fatalf("moved %d, error %v", moved, err)
				}
				if string(r.box.Fingerprint(natPath, nil)) != before || r.box.StatsSince(mark).Writes != 0 {
					t.Error("changed something")
				}
				advice, _ := remedy.For(err)
				if !strings.Contains(advice.String(), tt.remedy) {
					t.Errorf("remedy %q", advice)
				}
				terminal := r.box.Console(routerostest.AdminUser)
				for _, command := range advice.Commands {
					if refused := routerostest.Refused(terminal.Paste(command.String())); len(refused) > 0 {
						t.Errorf("%s: %v", command, refused)
					}
				}
				moved, err = r.PointRedirects(t.Context(), netip.MustParseAddr("192.168.88.5"))
				if mended := moved == 1 && err == nil; mended != tt.mends {
					t.Errorf("after the remedy: moved %d, error %v", moved, err)
				}
			})
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, routerostest.Config{})
			row, _ := r.box.Find(natPath, "dst-port", "5351")
			if err := r.box.Remove(natPath, row[".id"]); err != nil {
				t.Fatal(err)
			}
			_, err := r.PointRedirects(t.Context(), netip.MustParseAddr("192.168.88.5"))
			if advice, ok := remedy.For(err); !ok || !strings.Contains(advice.String(), "doublenat setup") {
				t.Errorf("error %v", err)
			}
			for _, host := range []string{"::1", "0.0.0.0", "224.0.0.1"} {
				if _, err := r.PointRedirects(t.Context(), netip.MustParseAddr(host)); err == nil || !strings.Contains(err.Error(), "not the IPv4 address of a host") {
					t.Errorf("%s: error %v", host, err)
				}
			}
		})
	})
}

// TestHost knows its own address where the router's networks have it, and nowhere else.
func TestHost(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]bool{
		"192.168.88.7": true, "172.30.254.2": true, "172.17.0.2": false, "192.168.90.2": false, "192.168.88.1": false, "127.0.0.1": false,
	} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				box := newBox(t, routerostest.Config{})
				r := rigOn(t, box, func(cfg *router.Config) { cfg.API.Dial = box.DialFrom(netip.MustParseAddr(from)) })
				got, err := r.Host(t.Context())
				if want && (err != nil || got.String() != from) || !want && err == nil {
					t.Errorf("got %v, error %v", got, err)
				}
				if err != nil && !strings.Contains(err.Error(), net.ParseIP(from).String()) {
					t.Errorf("error %v", err)
				}
				if advice, ok := remedy.For(err); err != nil && (!ok || !strings.Contains(advice.String(), "LISTEN_ADDR")) {
					t.Errorf("remedy %v", advice)
				}
			})
		})
	}
}
