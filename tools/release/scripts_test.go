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
	const user = "doublenat"
	for name, test := range map[string]struct {
		script string
		args   []string
		calls  string
		says   string // what to do next; empty for nothing
	}{
		"deb, first":    {"postinstall.sh", []string{"configure", ""}, "daemon-reload, try-restart doublenat.service", "not running yet"},
		"deb, upgrade":  {"postinstall.sh", []string{"configure", "1.2.3"}, "daemon-reload, try-restart doublenat.service, is-active --quiet doublenat.service", "not running. To start it"},
		"deb, replaced": {"preremove.sh", []string{"upgrade", "1.2.4"}, "", ""},
		"deb, remove":   {"preremove.sh", []string{"remove"}, "stop doublenat.service", ""},
		"deb, removed":  {"postremove.sh", []string{"remove"}, "daemon-reload", ""},
		"rpm, first":    {"postinstall.sh", []string{"1"}, "daemon-reload, try-restart doublenat.service", "not running yet"},
		"rpm, upgrade":  {"postinstall.sh", []string{"2"}, "daemon-reload, try-restart doublenat.service, is-active --quiet doublenat.service", "not running. To start it"},
		"rpm, replaced": {"preremove.sh", []string{"1"}, "", ""},
		"rpm, remove":   {"preremove.sh", []string{"0"}, "disable --now doublenat.service", ""},
		"apk, users":    {"apk-preinstall.sh", []string{"1.2.3"}, "addgroup -S " + user + ", adduser -S -D -H -h /var/empty -s /sbin/nologin -G " + user + " -g " + user + " " + user, ""},
		"apk, first":    {"apk-postinstall.sh", []string{"1.2.3"}, "", "not running yet"},
		"apk, upgrade":  {"apk-postupgrade.sh", []string{"1.2.4", "1.2.3"}, "rc-service --ifstarted doublenat restart", ""},
		"apk, remove":   {"apk-preremove.sh", []string{"1.2.3"}, "rc-service --ifstarted doublenat stop, rc-update --quiet --all del doublenat", ""},
		"apk, removed":  {"apk-postremove.sh", []string{"1.2.3"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			text, err := os.ReadFile(filepath.Join("..", "..", "packaging", test.script))
			if err != nil {
				t.Fatal(err)
			}
			script, log := filepath.Join(dir, "script"), filepath.Join(dir, "log")
			if err := os.WriteFile(script, []byte(strings.NewReplacer("/run/systemd/system", dir, "/run/openrc/softlevel", dir).Replace(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, manager := range []string{"systemctl", "rc-service", "rc-update", "addgroup", "adduser"} {
				called := manager + " "
				if manager == "systemctl" {
					called = ""
				}
				refuses := "#!/bin/sh\necho \"" + called + "$*\" >>'" + log + "'\nexit 1\n"
				if err := os.WriteFile(filepath.Join(dir, manager), []byte(refuses), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "sh", append([]string{script}, test.args...)...)
			cmd.Env = append(cmd.Environ(), "PATH="+dir+":/usr/sbin:/usr/bin:/sbin:/bin")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if !strings.Contains(string(out), test.says) || test.says == "" && len(out) > 0 {
				t.Errorf("it says %q", out)
			}
			called, _ := os.ReadFile(log) // not there if nothing was called
			if got := strings.ReplaceAll(strings.TrimSpace(string(called)), "\n", ", "); got != test.calls {
				t.Errorf("it called %q, want %q", got, test.calls)
			}
		})
	}
}
