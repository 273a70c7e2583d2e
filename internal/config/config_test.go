package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doublenat/internal/config"
	"doublenat/internal/nat"
	"doublenat/routeros"
)

// TestConfigShowsNoPassword prints a Config in every way that a careless line of
// code might.
func TestConfigShowsNoPassword(t *testing.T) {
	t.Parallel()
	const text = "s3cret"
	cfg, err := config.Parse(minimal("MIKROTIK_API_PASSWORD", text), noFile)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ inside config.Config }
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, value := range []any{cfg, &cfg, holder{cfg}} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	if err := json.NewEncoder(&out).Encode(cfg); err != nil {
		t.Fatal(err)
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("configured", "config", cfg)
	}
	for _, leak := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%d", []byte(text))} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q is in the output:\n%s", leak, out.String())
		}
	}
	if got := out.String(); !strings.Contains(got, cfg.RouterPassword.String()) {
		t.Error("no dots either")
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// compare lets cmp see into types that hide what they hold.
var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b routeros.Secret) bool { return a.Reveal() == b.Reveal() }),
}

// minimal returns the least environment that works, changed by name, value pairs.
func minimal(pairs ...string) map[string]string {
	environ := map[string]string{
		"VPN_GATEWAY":           "10.2.0.1",
		"MIKROTIK_API_ADDRESS":  "192.168.88.1",
		"MIKROTIK_API_PASSWORD": "hunter2",
	}
	for i := 0; i < len(pairs); i += 2 {
		environ[pairs[i]] = pairs[i+1]
	}
	return environ
}

// noFile stands for a file system without files.
func noFile(string) ([]byte, error) { return nil, fs.ErrNotExist }

// defaults returns the Config of minimal().
func defaults() config.Config {
	return config.Config{
		LeasePolicy:    nat.PolicyAuto,
		Gateway:        netip.MustParseAddrPort("10.2.0.1:5351"),
		GatewayWindow:  16,
		MaxLifetime:    2 * time.Hour,
		MaxMappings:    1024,
		Router:         config.Endpoint{Host: "192.168.88.1", Port: 8728},
		RouterUser:     "admin",
		RouterPassword: routeros.NewSecret("hunter2"),
		Listen:         netip.MustParseAddrPort("0.0.0.0:5351"),
		ClientRate:     50,
		NewClientRate:  50,
		CreateRate:     5,
		AllowedPorts:   []config.PortRange{{First: 1, Last: 65535}},
		AllowedClients: prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
		Announce:       config.Announce{Mode: config.AnnounceAuto},
		Instance:       "default",
		Shutdown:       config.ShutdownClean,
		Lock:           config.Lock{Kind: config.LockNone, Lease: 15 * time.Second},
		LogLevel:       slog.LevelInfo,
		LogFormat:      config.LogAuto,

		MaxMappingsPerClient: 64,
	}
}

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		pairs []string
		want  func(*config.Config)
	}{
		{"defaults", nil, func(*config.Config) {}},
		{"empty values count as absent", []string{"LISTEN_ADDR", "", "LOG_LEVEL", "", "ALLOWED_CLIENTS", "", "ANNOUNCE", ""}, func(*config.Config) {}},
		{"unrelated variables", []string{"PATH", "/bin", "HOME", "/root", "LANG", "C"}, func(*config.Config) {}},
		{"gateway port", []string{"VPN_GATEWAY", "127.0.0.9:15351"}, func(c *config.Config) { c.Gateway = netip.MustParseAddrPort("127.0.0.9:15351") }},
		{"router port", []string{"MIKROTIK_API_ADDRESS", "10.0.0.1:18728"}, func(c *config.Config) { c.Router = config.Endpoint{Host: "10.0.0.1", Port: 18728} }},
		{"router name", []string{"MIKROTIK_API_ADDRESS", "router.lan"}, func(c *config.Config) { c.Router.Host = "router.lan" }},
		{"router name and port", []string{"MIKROTIK_API_ADDRESS", "my_router-1.lan.:81"}, func(c *config.Config) { c.Router = config.Endpoint{Host: "my_router-1.lan.", Port: 81} }},
		{"router IPv6", []string{"MIKROTIK_API_ADDRESS", "fd00::1"}, func(c *config.Config) { c.Router.Host = "fd00::1" }},
		{"router IPv6 in brackets", []string{"MIKROTIK_API_ADDRESS", "[fd00:0::1]"}, func(c *config.Config) { c.Router.Host = "fd00::1" }},
		{"router IPv6 and port", []string{"MIKROTIK_API_ADDRESS", "[fd00::1]:99"}, func(c *config.Config) { c.Router = config.Endpoint{Host: "fd00::1", Port: 99} }},
		{"TLS port", []string{"MIKROTIK_API_TLS", "true"}, func(c *config.Config) { c.RouterTLS, c.Router.Port = true, 8729 }},
		{"TLS and a port", []string{"MIKROTIK_API_TLS", "yes", "MIKROTIK_API_ADDRESS", "10.0.0.1:1"}, func(c *config.Config) {
			c.RouterTLS, c.Router = true, config.Endpoint{Host: "10.0.0.1", Port: 1}
		}},
		{"TLS on", []string{"MIKROTIK_API_TLS", "ON"}, func(c *config.Config) { c.RouterTLS, c.Router.Port = true, 8729 }},
		{"TLS off", []string{"MIKROTIK_API_TLS", "Off"}, func(*config.Config) {}},
		{"TLS insecure", []string{"MIKROTIK_API_TLS", "Insecure"}, func(c *config.Config) {
			c.RouterTLS, c.RouterInsecure, c.Router.Port = true, true, 8729
			c.Warnings = []string{"MIKROTIK_API_TLS is insecure: who stands between here and the router can take its place and read the password"}
		}},
		{"fingerprint, which implies TLS", []string{"MIKROTIK_API_TLS_FINGERPRINT", strings.Repeat("A5:", 31) + "a5"}, func(c *config.Config) {
			c.RouterTLS, c.Router.Port = true, 8729
			for i := range c.RouterFingerprint {
				c.RouterFingerprint[i] = 0xa5
			}
		}},
		{"TLS no", []string{"MIKROTIK_API_TLS", "no"}, func(*config.Config) {}},
		{"user", []string{"MIKROTIK_API_USER", "double nat"}, func(c *config.Config) { c.RouterUser = "double nat" }},
		{"empty password", []string{"MIKROTIK_API_PASSWORD", ""}, func(c *config.Config) { c.RouterPassword = routeros.NewSecret("") }},
		{"interface", []string{"MIKROTIK_IN_INTERFACE", "WireGuard (NL)"}, func(c *config.Config) { c.InInterface = "WireGuard (NL)" }},
		{"listen", []string{"LISTEN_ADDR", "192.168.88.2:15351"}, func(c *config.Config) { c.Listen = netip.MustParseAddrPort("192.168.88.2:15351") }},
		{"listen on all", []string{"LISTEN_ADDR", ":1"}, func(c *config.Config) { c.Listen = netip.MustParseAddrPort("0.0.0.0:1") }},
		{"allowed", []string{"ALLOWED_CLIENTS", "192.168.88.0/24, 10.1.2.3"}, func(c *config.Config) { c.AllowedClients = prefixes("192.168.88.0/24", "10.1.2.3/32") }},
		{"denied", []string{"DENIED_CLIENTS", "192.168.88.64/26"}, func(c *config.Config) { c.DeniedClients = prefixes("192.168.88.64/26") }},
		{"rates", []string{"CLIENT_RATE", "0", "NEW_CLIENT_RATE", "10000", "CREATE_RATE", "2"}, func(c *config.Config) { c.ClientRate, c.NewClientRate, c.CreateRate = 0, 10000, 2 }},
		{"ports", []string{"ALLOWED_PORTS", "80, 1024-65535", "DENIED_PORTS", "3389"}, func(c *config.Config) {
			c.AllowedPorts = []config.PortRange{{First: 80, Last: 80}, {First: 1024, Last: 65535}}
			c.DeniedPorts = []config.PortRange{{First: 3389, Last: 3389}}
		}},
		{"read only", []string{"READ_ONLY", "yes"}, func(c *config.Config) { c.ReadOnly = true }},
		{"dry run", []string{"DRY_RUN", "1", "READ_ONLY", "0"}, func(c *config.Config) { c.ReadOnly = true }},
		{"http", []string{"HTTP_ADDR", "127.0.0.1:8080", "HTTP_HOSTS", "NAT.example.com., nat2"}, func(c *config.Config) {
			c.HTTP = config.ListenAddress{Network: "tcp", Address: "127.0.0.1:8080"}
			c.HTTPHosts = []string{"nat.example.com", "nat2"}
		}},
		{"http everywhere", []string{"HTTP_ADDR", ":8080"}, func(c *config.Config) {
			c.HTTP = config.ListenAddress{Network: "tcp", Address: ":8080"}
		}},
		{"http by name", []string{"HTTP_ADDR", "localhost:8080"}, func(c *config.Config) {
			c.HTTP = config.ListenAddress{Network: "tcp", Address: "127.0.0.1:8080"}
		}},
		{"http socket", []string{"HTTP_ADDR", "unix:/run/doublenat/http.sock"}, func(c *config.Config) {
			c.HTTP = config.ListenAddress{Network: "unix", Address: "/run/doublenat/http.sock"}
		}},
		{"pprof", []string{"PPROF_ADDR", "[::1]:6060"}, func(c *config.Config) { c.Pprof = netip.MustParseAddrPort("[::1]:6060") }},
		{"announce off", []string{"ANNOUNCE", "OFF"}, func(c *config.Config) { c.Announce = config.Announce{Mode: config.AnnounceOff} }},
		{"announce on", []string{"ANNOUNCE", "on"}, func(c *config.Config) { c.Announce = config.Announce{Mode: config.AnnounceOn} }},
		{"announce on interfaces", []string{"ANNOUNCE", "on:eth0, br0,eth0"}, func(c *config.Config) {
			c.Announce = config.Announce{Mode: config.AnnounceOn, Interfaces: []string{"eth0", "br0"}}
		}},
		{"window", []string{"GATEWAY_WINDOW", "256"}, func(c *config.Config) { c.GatewayWindow = 256 }},
		{"instance", []string{"INSTANCE", "Proton-NL_2"}, func(c *config.Config) { c.Instance = "Proton-NL_2" }},
		{"shutdown", []string{"SHUTDOWN", "Keep"}, func(c *config.Config) { c.Shutdown = config.ShutdownKeep }},
		{"lock on the router", []string{"LOCK", "Router"}, func(c *config.Config) {
			c.Lock = config.Lock{Kind: config.LockRouter, Lease: 15 * time.Second, Redirect: true}
			c.Shutdown = config.ShutdownKeep
		}},
		{"lock in Kubernetes", []string{"LOCK", "kubernetes", "LOCK_LEASE", "30", "LOCK_NAME", "pod-7f.b_2", "SHUTDOWN", "keep"}, func(c *config.Config) {
			c.Lock = config.Lock{Kind: config.LockKubernetes, Lease: 30 * time.Second, Name: "pod-7f.b_2"}
			c.Shutdown = config.ShutdownKeep
		}},
		{"lock with VRRP", []string{"LOCK", "router", "LOCK_REDIRECT", "off"}, func(c *config.Config) {
			c.Lock = config.Lock{Kind: config.LockRouter, Lease: 15 * time.Second}
			c.Shutdown = config.ShutdownKeep
		}},
		{"level", []string{"LOG_LEVEL", "debug"}, func(c *config.Config) { c.LogLevel = slog.LevelDebug }},
		{"level warn", []string{"LOG_LEVEL", "WARN"}, func(c *config.Config) { c.LogLevel = slog.LevelWarn }},
		{"level error", []string{"LOG_LEVEL", "Error"}, func(c *config.Config) { c.LogLevel = slog.LevelError }},
		{"format", []string{"LOG_FORMAT", "JSON"}, func(c *config.Config) { c.LogFormat = config.LogJSON }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := defaults()
			tt.want(&want)
			got, err := config.Parse(minimal(tt.pairs...), noFile)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, compare); diff != "" {
				t.Error(diff)
			}
		})
	}
}
