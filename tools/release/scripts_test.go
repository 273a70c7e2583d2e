//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPackageScripts: with a service manager that refuses everything, for example because the settings are
// wrong, packages are still installed, upgraded and removed; and nothing is started that did not run.
func TestPackageScripts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script string
		args   []string
		calls  string
		says   bool // what to do next
	}{
		"deb, first":    {"postinstall.sh", []string{"configure", ""}, "daemon-reload, try-restart doublenat.service", true},
		"deb, upgrade":  {"postinstall.sh", []string{"configure", "1.2.3"}, "daemon-reload, try-restart doublenat.service", false},
		"deb, replaced": {"preremove.sh", []string{"upgrade", "1.2.4"}, "", false},
		"deb, remove":   {"preremove.sh", []string{"remove"}, "disable --now doublenat.service", false},
		"deb, removed":  {"postremove.sh", []string{"remove"}, "daemon-reload", false},
		"rpm, first":    {"postinstall.sh", []string{"1"}, "daemon-reload, try-restart doublenat.service", true},
		"rpm, upgrade":  {"postinstall.sh", []string{"2"}, "daemon-reload, try-restart doublenat.service", false},
		"rpm, replaced": {"preremove.sh", []string{"1"}, "", false},
		"rpm, remove":   {"preremove.sh", []string{"0"}, "disable --now doublenat.service", false},
		"apk":           {"preremove.sh", []string{"1.2.3"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			text, err := os.ReadFile(filepath.Join("..", "..", "packaging", test.script))
			if err != nil {
				t.Fatal(err)
			}
			script, log := filepath.Join(dir, "script"), filepath.Join(dir, "log")
			if err := os.WriteFile(script, []byte(strings.ReplaceAll(string(text), "/run/systemd/system", dir)), 0o600); err != nil {
				t.Fatal(err)
			}
			refuses := "#!/bin/sh\necho \"$@\" >>'" + log + "'\nexit 1\n"
			if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(refuses), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "sh", append([]string{script}, test.args...)...)
			cmd.Env = append(cmd.Environ(), "PATH="+dir+":/usr/sbin:/usr/bin:/sbin:/bin")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if strings.Contains(string(out), "not running yet") != test.says {
				t.Errorf("it says %q", out)
			}
			called, _ := os.ReadFile(log) // not there if nothing was called
			if got := strings.ReplaceAll(strings.TrimSpace(string(called)), "\n", ", "); got != test.calls {
				t.Errorf("it called %q, want %q", got, test.calls)
			}
		})
	}
}
