package config_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/config"
	"doublenat/internal/nat"
)

// nas is the static mapping of one port of one host.
func nas(p nat.Protocol, port, suggested uint16) config.StaticMapping {
	return config.StaticMapping{
		Key:           nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: p, InternalPort: port},
		SuggestedPort: suggested,
	}
}

func TestParseAcceptsWhatTheCoreIsTold(t *testing.T) {
	t.Parallel()
	compareKeys := cmp.Comparer(func(a, b nat.Key) bool { return a == b })
	tests := []struct {
		name, text string
		want       func(*config.Config)
	}{
		{"GATEWAY_DELIVERY", "External", func(c *config.Config) { c.Delivery = nat.DeliverExternal }},
		{"GATEWAY_DELIVERY", "both", func(c *config.Config) { c.Delivery = nat.DeliverBoth }},
		{"GATEWAY_SYMMETRIC", "on", func(c *config.Config) { c.Symmetric = true }},
		{"ZERO_PORT", "External", func(c *config.Config) { c.ZeroPort = true }},
		{"PCP", "On", func(c *config.Config) { c.PCP = true }},
		{"PCP", "off", func(*config.Config) {}},
		{"UPNP", "on", func(c *config.Config) { c.UPnP = netip.MustParseAddrPort("0.0.0.0:5351") }},
		{"UPNP", "off", func(*config.Config) {}},
		{"UPNP_ADDR", "192.168.88.2:49000", func(*config.Config) {}},
		{"PCP_NONCE", "strict", func(c *config.Config) { c.StrictNonce = true }},
		{"PCP_NONCE", "Lenient", func(*config.Config) {}},
		{"ZERO_PORT", "refuse", func(*config.Config) {}},
		{"LEASE_POLICY", "client", func(c *config.Config) { c.LeasePolicy = nat.PolicyClient }},
		{"LEASE_POLICY", "HOLD", func(c *config.Config) { c.LeasePolicy = nat.PolicyHold }},
		{"MAX_LIFETIME", "90m", func(c *config.Config) { c.MaxLifetime = 90 * time.Minute }},
		{"MAX_LIFETIME", "3600", func(c *config.Config) { c.MaxLifetime = time.Hour }},
		{"MAX_LIFETIME", "24h", func(c *config.Config) { c.MaxLifetime = 24 * time.Hour }},
		{"COMPANION", "on", func(c *config.Config) { c.Companion = true }},
		{"COMPANION", "off", func(*config.Config) {}},
		{"MAX_MAPPINGS", "1", func(c *config.Config) { c.MaxMappings = 1 }},
		{"MAX_MAPPINGS_PER_CLIENT", "16384", func(c *config.Config) { c.MaxMappingsPerClient = 16384 }},
		{"STATIC_MAPPINGS", "tcp:192.168.88.10:8080", func(c *config.Config) {
			c.Static = []config.StaticMapping{nas(nat.TCP, 8080, 0)}
		}},
		{"STATIC_MAPPINGS", " UDP:192.168.88.10:8080=80 ,both:192.168.88.10:1=65535", func(c *config.Config) {
			c.Static = []config.StaticMapping{nas(nat.UDP, 8080, 80), nas(nat.TCP, 1, 65535), nas(nat.UDP, 1, 65535)}
		}},
		{"ON_CHANGE_EXEC", "/bin/notify", func(c *config.Config) { c.OnChangeExec = []string{"/bin/notify"} }},
		{"ON_CHANGE_EXEC", ` /bin/no\ tify  'a "b"' "c 'd'\"\e" f'g'h '' $HOME * | `, func(c *config.Config) {
			c.OnChangeExec = []string{"/bin/no tify", `a "b"`, `c 'd'"\e`, "fgh", "", "$HOME", "*", "|"}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name+"="+tt.text, func(t *testing.T) {
			t.Parallel()
			want := defaults()
			tt.want(&want)
			got, err := config.Parse(minimal(tt.name, tt.text), noFile)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, compare, compareKeys); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStaticMappingsFitTheLimits(t *testing.T) {
	t.Parallel()
	const three = "both:192.168.88.10:80,tcp:192.168.88.10:81"
	for _, tt := range []struct{ limit, reason string }{
		{"MAX_MAPPINGS_PER_CLIENT", "has more mappings of 192.168.88.10 than MAX_MAPPINGS_PER_CLIENT allows"},
		{"MAX_MAPPINGS", "has more mappings than MAX_MAPPINGS allows"},
	} {
		if _, err := config.Parse(minimal("STATIC_MAPPINGS", three, tt.limit, "3"), noFile); err != nil {
			t.Errorf("%s=3: %v", tt.limit, err)
		}
		_, err := config.Parse(minimal("STATIC_MAPPINGS", three, tt.limit, "2"), noFile)
		if err == nil || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("%s=2: %v, want %q", tt.limit, err, tt.reason)
		}
	}
}

// TestSymmetricContradictions: one port for the tunnel, and packets on the external one.
func TestSymmetricContradictions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, reason string }{
		{"GATEWAY_DELIVERY", "Internal", "contradicts GATEWAY_SYMMETRIC"},
		{"GATEWAY_DELIVERY", "external", ""},
		{"GATEWAY_DELIVERY", "both", ""},
		{"GATEWAY_DELIVERY", "", ""},
		{"STATIC_MAPPINGS", "both:192.168.88.10:80", ""},
		{"STATIC_MAPPINGS", "tcp:192.168.88.10:80,tcp:192.168.88.11:80", "has more than one port in it"},
		{"STATIC_MAPPINGS", "tcp:192.168.88.10:80,udp:192.168.88.10:81", "has more than one port in it"},
	} {
		if _, err := config.Parse(minimal(tt.name, tt.text), noFile); err != nil {
			t.Errorf("%s=%s alone: %v", tt.name, tt.text, err)
		}
		_, err := config.Parse(minimal(tt.name, tt.text, "GATEWAY_SYMMETRIC", "true"), noFile)
		var e *config.Error
		switch {
		case tt.reason == "" && err != nil:
			t.Errorf("%s=%s: %v", tt.name, tt.text, err)
		case tt.reason != "" && (!errors.As(err, &e) || e.Variable.Name != tt.name || !strings.Contains(e.Reason, tt.reason)):
			t.Errorf("%s=%s: %v, want %q", tt.name, tt.text, err, tt.reason)
		}
	}
}

// The URL can hold a password or a token: nothing of it is ever shown.
func TestHookURL(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"http://192.168.88.10:8080/port?token=s3cret", "https://user:s3cret@hooks.example.com", "http://[fd00::1]/"} {
		cfg, err := config.Parse(minimal("ON_CHANGE_URL", text), noFile)
		if err != nil || cfg.OnChangeURL.Reveal() != text {
			t.Errorf("%q: %v, got %q", text, err, cfg.OnChangeURL.Reveal())
		}
	}
	for text, reason := range map[string]string{
		"hooks.example.com/s3cret":            "not an absolute URL",
		"http:s3cret":                         "not an absolute URL",
		"http:///s3cret":                      "not an absolute URL",
		"http://user:s3cret@":                 "not an absolute URL",
		"http://user:s3cret@host:port/":       "not an absolute URL",
		"ftp://user:s3cret@host/":             "neither an http nor an https URL",
		"https://hooks.example.com/#s3cret":   "fragment",
		"https://hooks.example.com/%zzs3cret": "not an absolute URL",
	} {
		_, err := config.Parse(minimal("ON_CHANGE_URL", text), noFile)
		if err == nil || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v, want %q and no secret", text, err, reason)
		}
	}
}

// UPnP is served where NAT-PMP is, unless it has an address of its own, and nowhere else than
// the status page.
func TestUPnPAddress(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		listen, at, http string
		want, fails      string
	}{
		"as NAT-PMP":         {listen: "192.168.88.2:15351", want: "192.168.88.2:5351"},
		"another port":       {listen: "192.168.88.2:5351", at: ":49000", want: "192.168.88.2:49000"},
		"an address":         {at: "192.168.88.3:49000", want: "192.168.88.3:49000"},
		"the page elsewhere": {at: ":49000", http: ":8080", want: "0.0.0.0:49000"},
		"the page's":         {at: "192.168.88.2:8080", http: ":8080", fails: "UPNP_ADDR"},
		"a socket for it":    {at: ":8080", http: "unix:/run/doublenat.sock", want: "0.0.0.0:8080"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := config.Parse(minimal("UPNP", "on", "LISTEN_ADDR", tt.listen, "UPNP_ADDR", tt.at, "HTTP_ADDR", tt.http), noFile)
			switch {
			case tt.fails != "":
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("error %v", err)
				}
			case err != nil || cfg.UPnP.String() != tt.want:
				t.Errorf("%v, %v, want %s", cfg.UPnP, err, tt.want)
			}
		})
	}
}
