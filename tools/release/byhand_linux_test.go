//go:build packages

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros/routerostest"
)

// TestByHand runs the commands that the services' files have for who takes no package, in the folder of the archive.
func TestByHand(t *testing.T) {
	for name, test := range map[string]struct {
		calls []string
		files map[string]os.FileMode
	}{
		"contrib/systemd/doublenat.service": {
			[]string{"systemctl daemon-reload", "systemctl enable --now doublenat"},
			map[string]os.FileMode{"usr/local/bin/doublenat": 0o755, "etc/systemd/system/doublenat.service": 0o644},
		},
		"contrib/openrc/doublenat.initd": {
			[]string{"addgroup -S doublenat", "adduser -S -D -H -h /var/empty -s /sbin/nologin -G doublenat doublenat", "rc-update add doublenat", "rc-service doublenat start"},
			map[string]os.FileMode{"usr/bin/doublenat": 0o755, "etc/init.d/doublenat": 0o755, "etc/conf.d/doublenat": 0o644},
		},
	} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			root := copyOfThisMachine(t)
			tool(t, "tar", "-xzf", one(t, *firstDir, "*_linux_amd64.tar.gz"), "-C", root)
			folder := one(t, root, "doublenat_*_linux_amd64")
			const shims = "/shims"
			if err := errors.Join(os.Mkdir(filepath.Join(root, shims), 0o755), os.RemoveAll(filepath.Join(root, "etc/doublenat"))); err != nil {
				t.Fatal(err)
			}
			for _, manager := range []string{"systemctl", "addgroup", "adduser", "rc-update", "rc-service"} {
				text := "#!/bin/sh\necho \"" + manager + " $*\"\n"
				if err := os.WriteFile(filepath.Join(root, shims, manager), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			commands := []string{"PATH=" + shims + ":$PATH", "cd /" + filepath.Base(folder)}
			for _, line := range regexp.MustCompile(`(?m)^#   (.+?)(?:   \(.*\))?$`).FindAllStringSubmatch(string(read(t, filepath.Join(folder, name))), -1) {
				commands = append(commands, line[1])
			}
			cmd := exec.CommandContext(t.Context(), "chroot", root, "sh", "-ec", strings.Join(commands, "\n"))
			cmd.Stdin = strings.NewReader(routerostest.LeastPassword + "\n")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%q: %v\n%s", commands, err, out)
			}
			if diff := cmp.Diff(test.calls, strings.Split(strings.TrimSpace(string(out)), "\n")); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			test.files["etc/doublenat/doublenat.env"], test.files["etc/doublenat/router-password"] = 0o600, 0o600
			for file, mode := range test.files {
				if info, err := os.Stat(filepath.Join(root, file)); err != nil || info.Mode() != mode {
					t.Errorf("%s: %v, want %v (%v)", file, info, mode, err)
				}
			}
			if got := string(read(t, filepath.Join(root, "etc/doublenat/router-password"))); got != routerostest.LeastPassword+"\n" {
				t.Errorf("the password is %q", got)
			}
		})
	}
}
