package setup_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/setup"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

var update = flag.Bool("update", false, "write the golden files")

// typical is a container on the router, reached at its own end of the veth.
func typical(version string) setup.Config {
	v, err := setup.ParseVersion(version)
	if err != nil {
		panic(err)
	}
	return setup.Config{
		Version: v, Host: netip.MustParseAddr("172.30.254.2"), Container: netip.MustParsePrefix("172.30.254.0/30"),
		User: "doublenat", Router: "192.168.88.1", APIPort: 8728, LAN: setup.LAN{List: "LAN"}, VPN: netip.MustParseAddrPort("10.2.0.1:5351"),
		Environ: []routeros.Attr{
			{Name: "VPN_GATEWAY", Value: "10.2.0.1"},
			{Name: "MIKROTIK_API_ADDRESS", Value: "172.30.254.1"},
			{Name: "MIKROTIK_API_USER", Value: "doublenat"},
			{Name: "ALLOWED_CLIENTS", Value: "192.168.88.0/24"},
		},
	}
}

// golden are the set-ups that are kept as files.
func golden() map[string]setup.Config {
	all := make(map[string]setup.Config)
	for _, version := range []string{"7.12", "7.17", "7.18", "7.19", "7.20", "7.21", "7.22", "7.23", "7.24"} {
		all["container-"+version] = typical(version)
	}
	elsewhere := typical("7.22")
	elsewhere.Container, elsewhere.Host = netip.Prefix{}, netip.MustParseAddr("192.168.90.2")
	all["host-7.22"] = elsewhere
	old := elsewhere
	old.Version = setup.Version{Major: 6, Minor: 49}
	all["host-6.49"] = old
	secure := typical("7.22")
	secure.TLS, secure.APIPort = true, 8729
	secure.Environ = append(secure.Environ, routeros.Attr{Name: "MIKROTIK_API_TLS", Value: "true"})
	all["tls-7.22"] = secure
	name := secure
	name.Container, name.Host, name.Router = netip.Prefix{}, netip.MustParseAddr("192.168.90.2"), "router.home.arpa"
	all["tls-host-7.22"] = name
	known := secure
	known.Environ = append(slices.Clone(known.Environ), routeros.Attr{Name: "MIKROTIK_API_TLS_FINGERPRINT", Value: "7d5a"})
	all["tls-known-7.22"] = known
	bridge := typical("7.24")
	bridge.LAN, bridge.Disk, bridge.Tunnel, bridge.Architecture = setup.LAN{Interface: "bridge"}, "flash", "wg1", "arm64"
	all["bridge-7.24"] = bridge
	pool := typical("7.22")
	pool.VPN, pool.Tunnel, pool.Environ = netip.AddrPort{}, "ether1", slices.Clone(pool.Environ)
	pool.Environ[0].Value = "pool:51413,6881%ether1"
	all["pool-7.22"] = pool
	asked := pool
	asked.STUN, asked.Tunnel, asked.Environ = netip.MustParseAddrPort("203.0.113.7:3478"), "wg1", slices.Clone(pool.Environ)
	asked.Environ[0].Value = "pool:51413%wg1"
	asked.Environ = append(asked.Environ, routeros.Attr{Name: "STUN_SERVER", Value: "203.0.113.7"})
	all["pool-stun-7.22"] = asked
	device := typical("7.22")
	device.VPN, device.Speaks, device.Tunnel, device.Environ = netip.MustParseAddrPort("192.168.1.1:1900"), setup.SpeaksUPnP, "ether1", slices.Clone(device.Environ)
	device.Environ[0].Value = "igd://192.168.1.1"
	all["igd-7.22"] = device
	found := device
	found.VPN, found.Speaks, found.Found, found.Environ = netip.MustParseAddrPort("192.168.1.1:5351"), setup.SpeaksAny, true, slices.Clone(device.Environ)
	found.Environ[0].Value = "auto:"
	all["auto-7.22"] = found
	for _, version := range []string{"7.12", "7.24"} {
		searched := typical(version)
		searched.UPnP, searched.Environ = 5351, append(searched.Environ, routeros.Attr{Name: "PCP", Value: "on"}, routeros.Attr{Name: "UPNP", Value: "on"})
		all["upnp-"+version] = searched
		searched.Link, searched.Bridge = setup.LinkBridge, "bridge"
		all["upnp-bridge-"+version] = searched
	}
	for _, version := range []string{"6.49", "7.22"} {
		searched := elsewhere
		searched.UPnP, searched.Version = 5351, typical("7.22").Version
		if version == "6.49" {
			searched.Version = old.Version
		}
		all["upnp-host-"+version] = searched
		searched.Link, searched.Host = setup.LinkLAN, netip.MustParseAddr("192.168.88.5")
		all["upnp-lan-"+version] = searched
	}
	return all
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, cfg := range golden() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps, err := setup.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := setup.Write(&got, steps); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".rsc")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("set-up (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOptionsByVersion says which options belong to which versions, apart from
// the files, which are easily overwritten.
func TestOptionsByVersion(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ has, lacks string }{
		"7.12": {" envlist= /system%reboot set%api%", " envlists= envs%add%list= memory- nat-pmp%set restart name=doublenat%interface= apply-changes"},
		"7.13": {"nat-pmp%set", " envlists= restart memory-"},
		"7.17": {"/system%reboot", "apply-changes"},
		"7.18": {"apply-changes set%api%", "/system%reboot"},
		"7.19": {" envlist= name=doublenat%interface= envs%add%name= [find%name=api%and%!dynamic]", " envlists= memory- restart set%api%"},
		"7.20": {" envlists= envs%add%list= auto-restart-interval= memory-high=", " envlist= memory-max= restart-policy"},
		"7.22": {" envlists= auto-restart-interval= memory-high=", " envlist= memory-max= restart-policy Keep%the%image"},
		"7.23": {" envlists= restart-interval= memory-high= memory-max= restart-policy=on-failure Keep%the%image", " envlist= auto-restart-interval="},
	}
	for version, tt := range tests {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			steps, err := setup.New(typical(version))
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := setup.Write(&b, steps); err != nil {
				t.Fatal(err)
			}
			for option := range strings.FieldsSeq(tt.has) {
				if option = strings.ReplaceAll(option, "%", " "); !strings.Contains(b.String(), option) {
					t.Errorf("%q is missing", option)
				}
			}
			for option := range strings.FieldsSeq(tt.lacks) {
				if option = strings.ReplaceAll(option, "%", " "); strings.Contains(b.String(), option) {
					t.Errorf("%q is there", option)
				}
			}
		})
	}
}

// boxOf is a test router of the version, without the user that the set-up makes.
func boxOf(t *testing.T, version setup.Version) *routerostest.Router {
	t.Helper()
	box, err := routerostest.New(routerostest.Config{Version: version.String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	for _, table := range []string{"/user", "/user/group"} {
		if err := box.Remove(table, "doublenat"); err != nil {
			t.Fatal(err)
		}
	}
	return box
}

// TestAccepted pastes every line into the terminal of the version's test router, while
// somebody else uses its API.
func TestAccepted(t *testing.T) {
	t.Parallel()
	for name, cfg := range golden() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box := boxOf(t, cfg.Version)
			connect(t, box)
			steps, err := setup.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, refused := range typeAll(t, box, steps) {
				t.Error(refused)
			}
			redirected(t, box, cfg, "udp", 5351, cfg.Link != setup.LinkLAN)
			redirected(t, box, cfg, "udp", 1900, cfg.Link != setup.LinkLAN && cfg.UPnP != 0)
			redirected(t, box, cfg, "tcp", 5351, cfg.Link != setup.LinkLAN && cfg.UPnP != 0)
		})
	}
}

// redirected holds that a port of the router is doublenat's for the LAN, or is not.
func redirected(t *testing.T, box *routerostest.Router, cfg setup.Config, protocol string, port uint16, want bool) {
	t.Helper()
	to, _, ok := box.Match(protocol, routerostest.LANInterface, port)
	if got := ok && to == netip.AddrPortFrom(cfg.Host, port); got != want {
		t.Errorf("%s %d of the LAN goes to %v", protocol, port, to)
	}
}

// TestAcceptedByItsVersionAlone types the set-up of one version into others, whose
// options have other names.
func TestAcceptedByItsVersionAlone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ version, box, refused string }{
		{"7.12", "7.20", "unknown parameter name"},
		{"7.18", "7.19", "this is configured elsewhere"},
		{"7.19", "7.20", "unknown parameter name"},
		{"7.19", "7.18", "unknown parameter name"},
		{"7.20", "7.19", "unknown parameter list"},
		{"7.22", "7.23", "unknown parameter auto-restart-interval"},
		{"7.23", "7.22", "unknown parameter restart-policy"},
	} {
		t.Run(tt.version+" on "+tt.box, func(t *testing.T) {
			t.Parallel()
			cfg := typical(tt.version)
			steps, err := setup.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			box := boxOf(t, typical(tt.box).Version)
			connect(t, box)
			refused := typeAll(t, box, steps)
			if !strings.Contains(strings.Join(refused, "\n"), tt.refused) {
				t.Errorf("refused: %v, want %q", refused, tt.refused)
			}
		})
	}
}

// connect lets somebody use the API for as long as the test runs.
func connect(t *testing.T, box *routerostest.Router) {
	t.Helper()
	client, err := routeros.New(routeros.Config{
		Dial: box.Dial, User: routerostest.AdminUser, Password: routeros.NewSecret(routerostest.AdminPassword),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if _, err := client.Do(ctx, routeros.Command{Path: "/system/identity/print"}); err != nil {
		t.Fatal(err)
	}
}

// typeAll pastes what is written for all steps into the router's terminal, as the
// administrator, and returns what it refused or did in vain.
func typeAll(t *testing.T, box *routerostest.Router, steps []setup.Step) []string {
	t.Helper()
	var text strings.Builder
	if err := setup.Write(&text, steps); err != nil {
		t.Fatal(err)
	}
	return routerostest.Refused(box.Console(routerostest.AdminUser).Paste(text.String()))
}

func TestRefused(t *testing.T) {
	t.Parallel()
	change := func(f func(*setup.Config)) setup.Config {
		cfg := typical("7.22")
		f(&cfg)
		return cfg
	}
	for want, cfg := range map[string]setup.Config{
		"no IPv4 address":          change(func(c *setup.Config) { c.Host = netip.MustParseAddr("fd00::1") }),
		"no network of two":        change(func(c *setup.Config) { c.Host = netip.MustParseAddr("10.0.0.1") }),
		"of two hosts":             change(func(c *setup.Config) { c.Container = netip.MustParsePrefix("172.30.254.0/24") }),
		"with 172.30.254.3 in":     change(func(c *setup.Config) { c.Host = netip.MustParseAddr("172.30.254.3") }),
		"has no containers":        change(func(c *setup.Config) { c.Version = setup.Version{Major: 7, Minor: 3} }),
		"the gateway has no":       change(func(c *setup.Config) { c.VPN = netip.MustParseAddrPort("[fd00::1]:5351") }),
		"at which they arrive":     change(func(c *setup.Config) { c.VPN = netip.AddrPort{} }),
		"leave --version out":      change(func(c *setup.Config) { c.VPN, c.Found = netip.AddrPort{}, true }),
		"the LAN is an":            change(func(c *setup.Config) { c.LAN = setup.LAN{} }),
		"list or an interface":     change(func(c *setup.Config) { c.LAN.Interface = "bridge" }),
		"needs the bridge's name":  change(func(c *setup.Config) { c.Link = setup.LinkBridge }),
		"and no other does":        change(func(c *setup.Config) { c.Bridge = "bridge" }),
		"container on the router":  change(func(c *setup.Config) { c.Link, c.Bridge, c.Container = setup.LinkBridge, "bridge", netip.Prefix{} }),
		"would pass the router by": change(func(c *setup.Config) { c.Link = setup.LinkLAN }),
		"RouterOS 8.1 is not kn":   change(func(c *setup.Config) { c.Version = setup.Version{Major: 8, Minor: 1} }),
	} {
		if _, err := setup.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}

// TestOrder has what can only be done later: a container starts when its image is
// unpacked, and the package comes before all that needs it.
func TestOrder(t *testing.T) {
	t.Parallel()
	steps, err := setup.New(typical("7.21"))
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for i, s := range steps {
		var text bytes.Buffer
		if err := setup.Write(&text, steps[i:i+1]); err != nil {
			t.Fatal(err)
		}
		for _, mark := range []string{"device-mode", "/user add", "/container envs add", "/container add", "shows the container as stopped", "/container start"} {
			if strings.Contains(text.String(), mark) {
				order = append(order, fmt.Sprintf("%d %s", len(s.Commands), mark))
			}
		}
	}
	want := []string{"0 device-mode", "2 /user add", "5 /container envs add", "1 /container add", "1 shows the container as stopped", "1 /container start"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestOtherEndOfTheNetwork(t *testing.T) {
	t.Parallel()
	cfg := typical("7.22")
	cfg.Host = netip.MustParseAddr("172.30.254.1")
	steps, err := setup.New(cfg)
	var b bytes.Buffer
	if err := errors.Join(err, setup.Write(&b, steps)); err != nil {
		t.Fatal(err)
	}
	if want := "/ip address add address=172.30.254.2/30 interface=veth-doublenat"; !strings.Contains(b.String(), want) {
		t.Errorf("%q is not in\n%s", want, b.String())
	}
}

// TestImageForTheRouter: the router's own word for its processor says which file of a release it needs.
func TestImageForTheRouter(t *testing.T) {
	t.Parallel()
	for architecture, want := range map[string]string{
		"arm64":  "doublenat_VERSION_linux_arm64_image.tar.",
		"arm":    "doublenat_VERSION_linux_armv5_image.tar.",
		"x86_64": "doublenat_VERSION_linux_amd64_image.tar.",
		"mipsbe": "has no containers",
		"":       "architecture-name",
	} {
		cfg := typical("7.24")
		cfg.Architecture = architecture
		steps, err := setup.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(steps[0].Notes, "\n"); !strings.Contains(notes, want) {
			t.Errorf("%s: %s", architecture, notes)
		}
	}
}
