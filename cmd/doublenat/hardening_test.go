package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// maxExposure is what `systemd-analyze security` may say of the unit: 0 is a program
// that may do nothing, 10 one that may do all.
const maxExposure = 2.0

// missing skips a test that needs what this machine has not. In CI that fails.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing, and CI must have it", what)
	}
	t.Skipf("%s is missing", what)
}

// TestUnitIsHardened lets systemd judge the unit that we ship.
func TestUnitIsHardened(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		missing(t, "systemd-analyze (Debian package systemd)")
	}
	unit, err := os.ReadFile(filepath.Join("..", "..", "contrib", "systemd", "doublenat.service"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable() // verify wants the program to be there
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "doublenat.service")
	text := strings.Replace(string(unit), "ExecStart=doublenat", "ExecStart="+self, 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", path).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	level := regexp.MustCompile(`Overall exposure level for doublenat\.service: ([0-9.]+)`).FindSubmatch(out)
	if level == nil {
		t.Fatalf("no level in\n%s", out)
	}
	if exposure, err := strconv.ParseFloat(string(level[1]), 64); err != nil || exposure > maxExposure {
		t.Errorf("exposure %s, want at most %v:\n%s", level[1], maxExposure, out)
	}
}

// TestUnitOffersWhatIsUsed: the watchdog, the folder of the page's socket, SIGHUP and the
// credential work only where the unit has them, and nobody misses them at once.
func TestUnitOffersWhatIsUsed(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile(filepath.Join("..", "..", "contrib", "systemd", "doublenat.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Type=notify", "WatchdogSec=60s", "RuntimeDirectory=doublenat", "Environment=HTTP_ADDR=" + unitSocket, "ExecReload=/bin/kill -HUP $MAINPID", "LoadCredential=router-password:/etc/doublenat/router-password",
		"RestartPreventExitStatus=" + strconv.Itoa(exitUsage),
	} {
		if !strings.Contains(string(unit), "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
}

// TestImageIsBare reads the recipe of the image: two files, and a user by number.
// internal/image looks at the rest of it.
func TestImageIsBare(t *testing.T) {
	t.Parallel()
	recipe, err := os.ReadFile(filepath.Join("..", "..", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, image, found := strings.Cut(string(recipe), "\nFROM scratch\n")
	if !found {
		t.Fatal("the image is not built from scratch")
	}
	var steps []string
	for line := range strings.Lines(image) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			steps = append(steps, line)
		}
	}
	copies := slices.DeleteFunc(slices.Clone(steps), func(s string) bool { return !strings.HasPrefix(s, "COPY ") && !strings.HasPrefix(s, "ADD ") })
	const program, authorities = "/doublenat", "/etc/ssl/certs/ca-certificates.crt"
	if want := []string{"COPY --from=build " + program + " " + program, "COPY --from=build " + authorities + " " + authorities}; !slices.Equal(copies, want) {
		t.Errorf("into the image go %q, want %q", copies, want)
	}
	if !slices.Contains(steps, "USER 65534:65534") {
		t.Errorf("the image has another user: %q", steps)
	}
}

// TestRunsWithNothing runs the program as the image does: alone in a file system that
// cannot be written, as a user without a name and without any capability.
func TestRunsWithNothing(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("Linux has chroot and capabilities")
	}
	root := t.TempDir()
	build := exec.CommandContext(t.Context(), "make", "-C", "../..", "binary", "OUT="+filepath.Join(root, "doublenat"))
	build.Env = append(os.Environ(), "GOFLAGS=", "MAKEFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chmod(root, 0o755); err != nil { // who is not root could not remove it
			t.Error(err)
		}
	})
	environ, _ := nowhere(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/doublenat", "serve")
	cmd.Dir = "/"
	for name, value := range environ {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = confined(root)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil && os.Geteuid() != 0 {
		missing(t, fmt.Sprintf("root, or the right to make a namespace of users (%v),", err))
	} else if err != nil {
		t.Fatalf("starting: %v", err)
	}
	var log strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		log.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "starting") {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(log.String(), "stopped") {
		t.Errorf("%v:\n%s", err, log.String())
	}
}
