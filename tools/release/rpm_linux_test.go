//go:build packages

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// manager puts a service manager that does nothing in the place of systemd, which does not run there, and
// returns what tells the commands that it got since the last time.
func manager(t *testing.T, root string) func() []string {
	t.Helper()
	const log = "/release-files/systemctl.log"
	for name, text := range map[string]string{"usr/bin/systemctl": "#!/bin/sh\necho \"$*\" >>" + log + "\n[ \"$1\" != is-active ]\n", log: ""} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o755), os.Chmod(path, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	return func() []string {
		t.Helper()
		said := strings.TrimSpace(string(read(t, filepath.Join(root, log))))
		if err := os.Truncate(filepath.Join(root, log), 0); err != nil {
			t.Fatal(err)
		}
		return strings.Split(said, "\n")
	}
}

// TestRPM installs the package on a copy of this machine, upgrades and removes it, by rpm itself.
func TestRPM(t *testing.T) {
	root := copyOfThisMachine(t)
	inside := func(args ...string) string { t.Helper(); return tool(t, "chroot", append([]string{root}, args...)...) }
	files := filepath.Join(root, "release-files")
	if err := os.Mkdir(files, 0o755); err != nil {
		t.Fatal(err)
	}
	first := one(t, *firstDir, "*_linux_amd64.rpm")
	for name, file := range map[string]string{filepath.Base(first): first, "second.rpm": one(t, *secondDir, "*_linux_amd64.rpm")} {
		if err := os.WriteFile(filepath.Join(files, name), read(t, file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	calls := manager(t, root)
	if said := documented(t, root, "rpm"); !strings.Contains(said, "systemctl enable --now doublenat") {
		t.Errorf("it does not say what to do next:\n%s", said)
	}
	if diff := cmp.Diff([]string{"daemon-reload", "try-restart doublenat.service"}, calls()); diff != "" {
		t.Errorf("installed it calls (-want +got):\n%s", diff)
	}
	if said := strings.TrimSpace(inside("rpm", "--verify", "--nodeps", "doublenat")); said != "" {
		t.Errorf("not all is as it was packed:\n%s", said)
	}
	env := filepath.Join(root, "etc/doublenat/doublenat.env")
	const setting = "LOG_FORMAT=text\n"
	if err := os.WriteFile(env, append(read(t, env), setting...), 0o600); err != nil {
		t.Fatal(err)
	}
	inside("rpm", "--force-debian", "--nodeps", "-U", "/release-files/second.rpm")
	if version := inside("doublenat", "version"); !strings.HasPrefix(version, "doublenat v0.0.2-rc.1, ") {
		t.Errorf("after the upgrade it is %q", version)
	}
	if diff := cmp.Diff([]string{"daemon-reload", "try-restart doublenat.service", "is-active --quiet doublenat.service", "daemon-reload"}, calls()); diff != "" {
		t.Errorf("upgraded it calls (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(env); err != nil || info.Mode() != 0o600 || !strings.HasSuffix(string(read(t, env)), setting) {
		t.Errorf("after the upgrade the settings have %v, %v", info, err)
	}
	serveInside(t, root, "")
	inside("rpm", "--force-debian", "--nodeps", "-e", "doublenat")
	if diff := cmp.Diff([]string{"disable --now doublenat.service", "daemon-reload"}, calls()); diff != "" {
		t.Errorf("removed it calls (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/bin/doublenat")); err == nil {
		t.Error("the program is still there")
	}
	if kept := string(read(t, env+".rpmsave")); !strings.Contains(kept, setting) {
		t.Errorf("removed, it kept the settings\n%s", kept)
	}
}

// TestOrder: a version that comes before another one sorts before it in each kind of package.
func TestOrder(t *testing.T) {
	deb := strings.TrimSpace(tool(t, "dpkg-deb", "--field", one(t, *secondDir, "*_linux_amd64.deb"), "Version"))
	rpm := tool(t, "rpm", "--query", "--queryformat", "%{VERSION}", "-p", one(t, *secondDir, "*_linux_amd64.rpm"))
	for _, order := range [][2]string{{"0.0.1", "<"}, {"0.0.2~rc.2", ">"}, {"0.0.2~rc.10", ">"}, {"0.0.2", ">"}} {
		operator, sign := "gt", "1"
		if order[1] == ">" {
			operator, sign = "lt", "-1"
		}
		tool(t, "dpkg", "--compare-versions", deb, operator, order[0])
		if got := strings.TrimSpace(tool(t, "rpm", "--eval", fmt.Sprintf("%%{lua:print(rpm.vercmp(%q, %q))}", rpm, order[0]))); got != sign {
			t.Errorf("rpm compares %s with %s: %s", rpm, order[0], got)
		}
	}
	// apk is not there. Its rule (apk-package(5)): _rc and a number come before the version without them.
	info := string(untar(t, gunzip(t, read(t, one(t, *secondDir, "*_linux_amd64.apk"))))[".PKGINFO"].data)
	if !strings.Contains(info, "\npkgver = 0.0.2_rc1\n") {
		t.Errorf("the apk says\n%s", info)
	}
}
