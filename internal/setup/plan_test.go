package setup_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path"
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
		User: "doublenat", Router: "192.168.88.1", APIPort: 8728, LAN: "LAN",
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
	for _, version := range []string{"7.12", "7.19", "7.20", "7.21", "7.22", "7.23"} {
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
		"7.12": {" envlist=", " envlists= /container/envs/add%list= memory /ip/nat-pmp/set restart name=doublenat%interface= "},
		"7.13": {"/ip/nat-pmp/set", " envlists= restart memory"},
		"7.19": {" envlist= name=doublenat%interface= /container/envs/add%name=", " envlists= memory restart"},
		"7.20": {" envlists= /container/envs/add%list= auto-restart-interval= memory-high=", " envlist= memory-max= restart-policy"},
		"7.22": {" envlists= auto-restart-interval= memory-high=", " envlist= memory-max= restart-policy"},
		"7.23": {" envlists= restart-interval= memory-high= memory-max= restart-policy", " envlist= auto-restart-interval="},
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

// TestAccepted types every line into the test router of the version, which knows
// all of them.
func TestAccepted(t *testing.T) {
	t.Parallel()
	for name, cfg := range golden() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box := boxOf(t, cfg.Version)
			steps, err := setup.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, refused := range typeAll(t, box, steps) {
				t.Error(refused)
			}
			if to, _, ok := box.Match("udp", routerostest.LANInterface, 5351); !ok || to.Addr() != netip.MustParseAddr("172.30.254.2") {
				t.Errorf("NAT-PMP of the LAN goes to %v", to)
			}
		})
	}
}

// TestAcceptedByItsVersionAlone types the set-up of one version into others, whose
// options have other names.
func TestAcceptedByItsVersionAlone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ version, box, refused string }{
		{"7.12", "7.20", "unknown parameter name"},
		{"7.19", "7.20", "unknown parameter name"},
		{"7.19", "7.18", "unknown parameter name"},
		{"7.20", "7.19", "unknown parameter list"},
		{"7.22", "7.23", "unknown parameter auto-restart-interval"},
		{"7.23", "7.22", "unknown parameter restart-interval"},
	} {
		t.Run(tt.version+" on "+tt.box, func(t *testing.T) {
			t.Parallel()
			cfg := typical(tt.version)
			steps, err := setup.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			refused := typeAll(t, boxOf(t, typical(tt.box).Version), steps)
			if len(refused) == 0 || !strings.Contains(refused[0], tt.refused) {
				t.Errorf("refused: %v, want %q", refused, tt.refused)
			}
		})
	}
}

// typeAll types the commands of all steps as the administrator, and returns those
// that the router refused.
func typeAll(t *testing.T, box *routerostest.Router, steps []setup.Step) (refused []string) {
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
	for _, s := range steps {
		for _, c := range s.Commands {
			cmd := routeros.Command{Path: c.Path}
			for _, a := range c.Args {
				a.Value = evaluated(box, c.Path, a)
				cmd.Args = append(cmd.Args, a)
			}
			if _, err := client.Do(ctx, cmd); err != nil {
				refused = append(refused, c.String()+": "+err.Error())
			}
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return refused
}

// evaluated returns a value as the terminal sends it: it counts what it shows, and
// looks up what is in brackets, while the API knows ids only.
func evaluated(box *routerostest.Router, command string, a routeros.Attr) string {
	inner, ok := strings.CutPrefix(a.Value, "[find ")
	switch {
	case a.Name == "place-before" && a.Value == "0":
		return box.Rows(path.Dir(command))[0][".id"]
	case ok:
		name, value, _ := strings.Cut(strings.TrimSuffix(inner, "]"), "=")
		row, _ := box.Find(path.Dir(command), name, value)
		return row[".id"]
	default:
		return a.Value
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	change := func(f func(*setup.Config)) setup.Config {
		cfg := typical("7.22")
		f(&cfg)
		return cfg
	}
	for want, cfg := range map[string]setup.Config{
		"no IPv4 address":        change(func(c *setup.Config) { c.Host = netip.MustParseAddr("fd00::1") }),
		"no network of two":      change(func(c *setup.Config) { c.Host = netip.MustParseAddr("10.0.0.1") }),
		"of two hosts":           change(func(c *setup.Config) { c.Container = netip.MustParsePrefix("172.30.254.0/24") }),
		"with 172.30.254.3 in":   change(func(c *setup.Config) { c.Host = netip.MustParseAddr("172.30.254.3") }),
		"has no containers":      change(func(c *setup.Config) { c.Version = setup.Version{Major: 7, Minor: 3} }),
		"RouterOS 8.1 is not kn": change(func(c *setup.Config) { c.Version = setup.Version{Major: 8, Minor: 1} }),
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
		for _, mark := range []string{"device-mode", "/user/add", "/container/envs/add", "/container/add", "shows the container as stopped", "/container/start"} {
			if strings.Contains(text.String(), mark) {
				order = append(order, fmt.Sprintf("%d %s", len(s.Commands), mark))
			}
		}
	}
	want := []string{"0 device-mode", "2 /user/add", "5 /container/envs/add", "1 /container/add", "1 shows the container as stopped", "1 /container/start"}
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
	if want := "/ip/address/add address=172.30.254.2/30 interface=veth-doublenat"; !strings.Contains(b.String(), want) {
		t.Errorf("%q is not in\n%s", want, b.String())
	}
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]setup.Version{
		"7.21": {7, 21}, "7.21.3": {7, 21}, "7.20.8 (long-term)": {7, 20}, "7.24beta2 (development)": {7, 24},
		"6.49.18 (long-term)": {6, 49}, " 7.1rc4 ": {7, 1},
	} {
		if got, err := setup.ParseVersion(text); err != nil || got != want {
			t.Errorf("%q: got %v, error %v", text, got, err)
		}
	}
	for _, text := range []string{"", "7", "7.", "seven.1", "x7.1", "-7.1", "7.99999", "999.1"} {
		if got, err := setup.ParseVersion(text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
	for _, tt := range []struct {
		v    setup.Version
		want bool
	}{{setup.Version{6, 99}, false}, {setup.Version{7, 19}, false}, {setup.Version{7, 20}, true}, {setup.Version{8, 0}, true}} {
		if got := tt.v.AtLeast(20); got != tt.want {
			t.Errorf("%v at least 7.20: %v", tt.v, got)
		}
	}
}
