package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doublenat/internal/config"
	"doublenat/internal/nat"
)

// TestShippedSettings: the settings that come with the packages and with compose.yaml are ones that
// doublenat takes, and have what most people want.
func TestShippedSettings(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"contrib/systemd/doublenat.env", "deploy/compose/.env.example", "deploy/kubernetes/doublenat.env"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
			if err != nil {
				t.Fatal(err)
			}
			environ := map[string]string{"MIKROTIK_API_PASSWORD_FILE": "password"}
			explained := false
			for line := range strings.Lines(string(text)) {
				line = strings.TrimSpace(line)
				if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
					if _, twice := environ[key]; twice || !explained {
						t.Errorf("%s is there twice, or no line says what it is for", key)
					}
					environ[key] = value
					continue
				}
				explained = strings.HasPrefix(line, "# ") // and stays so for the settings after it
			}
			cfg, err := config.Parse(environ, func(string) ([]byte, error) { return []byte("secret\n"), nil })
			if err != nil {
				t.Fatal(err)
			}
			if cfg.LeasePolicy != nat.PolicyAuto || cfg.Shutdown != config.ShutdownKeep || cfg.HTTP.String() == "" {
				t.Errorf("LEASE_POLICY=%v SHUTDOWN=%v HTTP_ADDR=%v", cfg.LeasePolicy, cfg.Shutdown, cfg.HTTP)
			}
			for _, want := range []string{"LEASE_POLICY", "SHUTDOWN", "HTTP_ADDR", "VPN_GATEWAY", "MIKROTIK_API_ADDRESS", "MIKROTIK_API_USER"} {
				if environ[want] == "" {
					t.Errorf("it does not set %s", want)
				}
			}
			if len(cfg.Warnings) > 0 {
				t.Errorf("warnings: %q", cfg.Warnings)
			}
		})
	}
}
