package config_test

import (
	"strings"
	"testing"

	"doublenat/internal/config"
)

// Removing everything at a stop and handing it over cannot both be wanted.
func TestLockAndShutdown(t *testing.T) {
	t.Parallel()
	_, err := config.Parse(minimal("LOCK", "router", "SHUTDOWN", "Clean"), noFile)
	if err == nil || !strings.Contains(err.Error(), "leave SHUTDOWN out") {
		t.Errorf("Parse() = %v, want what to do about SHUTDOWN", err)
	}
	if _, err := config.Parse(minimal("LOCK", "none", "SHUTDOWN", "clean"), noFile); err != nil {
		t.Error(err)
	}
}
