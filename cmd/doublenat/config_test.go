package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The password that systemd hands over is said to be one, and where it is, unless a
// variable goes before it.
func TestSettingsNameTheCredential(t *testing.T) {
	t.Parallel()
	const dir, name = "/run/credentials/doublenat.service", "MIKROTIK_API_PASSWORD_FILE"
	for source, environ := range map[string]map[string]string{
		"credential":  {"CREDENTIALS_DIRECTORY": dir},
		"environment": {"CREDENTIALS_DIRECTORY": dir, name: "/etc/router"},
		"none":        {"CREDENTIALS_DIRECTORY": dir, "MIKROTIK_API_PASSWORD": "hunter2"},
	} {
		want := setting{Name: name, Source: source, Value: map[string]string{"credential": dir + "/router-password", "environment": "/etc/router"}[source]}
		for _, got := range settings(environ) {
			if got.Name == name && got != want {
				t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
			}
		}
	}
}
