package console_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"doublenat/internal/setup"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// layouts are where doublenat runs, and how it reaches the router.
func layouts() map[string]setup.Config {
	container := setup.Config{
		Host: netip.MustParseAddr("172.30.254.2"), Container: netip.MustParsePrefix("172.30.254.0/30"),
		User: "doublenat", Router: "192.168.88.1", APIPort: 8728, LAN: setup.LAN{List: "LAN"}, VPN: netip.MustParseAddrPort("10.2.0.1:5351"),
		Environ: []routeros.Attr{{Name: "VPN_GATEWAY", Value: "10.2.0.1"}, {Name: "ALLOWED_CLIENTS", Value: "192.168.88.0/24, 10.0.0.0/8"}},
	}
	host := container
	host.Container, host.Host = netip.Prefix{}, netip.MustParseAddr("192.168.88.2")
	secure := container
	secure.TLS, secure.APIPort = true, 8729
	name := host
	name.TLS, name.APIPort, name.Router = true, 8729, "router.home.arpa"
	tunnel := container
	tunnel.Tunnel, tunnel.Disk, tunnel.LAN = "wg1", "flash", setup.LAN{Interface: "bridge"}
	return map[string]setup.Config{"container": container, "host": host, "TLS": secure, "TLS by name": name, "tunnel": tunnel}
}

// troubles are what makes a router harder to set up than a new one.
func troubles() map[string]func(*testing.T, *routerostest.Router) {
	return map[string]func(*testing.T, *routerostest.Router){
		"as it is": func(*testing.T, *routerostest.Router) {},
		"FastTrack, and somebody connected": func(t *testing.T, r *routerostest.Router) {
			t.Helper()
			if _, err := r.Add("/ip/firewall/filter", routerostest.Row{"chain": "forward", "action": "fasttrack-connection"}); err != nil {
				t.Fatal(err)
			}
			if conn, err := r.Dial(t.Context()); err != nil {
				t.Fatal(err)
			} else {
				t.Cleanup(func() { _ = conn.Close() })
			}
		},
		"no rules at all": func(t *testing.T, r *routerostest.Router) {
			t.Helper()
			for _, table := range []string{"filter", "nat", "mangle"} {
				for _, row := range r.Rows("/ip/firewall/" + table) {
					if err := r.Remove("/ip/firewall/"+table, row[".id"]); err != nil {
						t.Fatal(err)
					}
				}
			}
		},
	}
}

// TestSetUp pastes the set-up of every layout for every release into that release's
// terminal, which takes each line, and none of them in vain.
func TestSetUp(t *testing.T) {
	t.Parallel()
	for _, release := range append(releases(), "7.4", "7.8") {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			for name, cfg := range layouts() {
				for trouble, furnish := range troubles() {
					pasteSetUp(t, release, name+", "+trouble, cfg, furnish)
				}
			}
		})
	}
}

func pasteSetUp(t *testing.T, release, name string, cfg setup.Config, trouble func(*testing.T, *routerostest.Router)) {
	t.Helper()
	version, err := setup.ParseVersion(release)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Container.IsValid() && version.Major < 7 {
		return // there are no containers
	}
	cfg.Version = version
	steps, err := setup.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := setup.Write(&text, steps); err != nil {
		t.Fatal(err)
	}
	router, err := routerostest.New(routerostest.Config{Version: release})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = router.Close() }()
	for _, table := range []string{"/user", "/user/group"} {
		if err := router.Remove(table, routerostest.LeastUser); err != nil {
			t.Fatal(err)
		}
	}
	trouble(t, router)
	if refused := routerostest.Refused(router.Console(routerostest.AdminUser).Paste(text.String())); refused != nil {
		t.Errorf("%s:\n%s", name, strings.Join(refused, "\n"))
	}
	for i, line := range strings.Split(text.String(), "\n") {
		if strings.HasPrefix(line, "#") {
			checkComment(t, fmt.Sprintf("%s %s:%d", release, name, i+1), line, router.Console(routerostest.AdminUser))
		}
	}
}

// checkComment judges the commands that a comment of the set-up speaks of.
func checkComment(t *testing.T, where, line string, terminal *routerostest.Console) {
	t.Helper()
	for _, m := range within.FindAllStringSubmatch(line, -1) {
		words := strings.Fields(whole(m[2]))
		ok := false
		for n := len(words); n > 0 && !ok; n-- {
			err := terminal.Judge(strings.Join(words[:n], " "))
			ok = n > 1 && err == nil || err != nil && strings.HasSuffix(err.Error(), onlyNamed)
		}
		if !ok {
			t.Errorf("%s: %s", where, line)
		}
	}
}
