package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
)

// minimal returns an environment with which serve starts.
func minimal() map[string]string {
	return map[string]string{
		"VPN_GATEWAY":           "10.2.0.1",
		"MIKROTIK_API_ADDRESS":  "192.168.88.1",
		"MIKROTIK_API_PASSWORD": "hunter2",
	}
}

func TestRunExitCodes(t *testing.T) {
	t.Parallel()
	broken := errors.New("address already in use")
	tests := []struct {
		name    string
		args    []string
		environ map[string]string
		err     error
		code    int
		stderr  string
	}{
		{name: "default command", environ: minimal()},
		{name: "serve", args: []string{"serve"}, environ: minimal()},
		{name: "daemon fails", environ: minimal(), err: broken, code: exitFailure, stderr: "doublenat: address already in use\n"},
		{name: "no configuration", code: exitUsage, stderr: "VPN_GATEWAY is not set"},
		{name: "unknown command", args: []string{"srve"}, code: exitUsage, stderr: "doublenat: there is no command \"srve\"; did you mean serve? (see: doublenat --help)\n"},
		{name: "unknown command like none", args: []string{"xyzzyx"}, code: exitUsage, stderr: "doublenat: there is no command \"xyzzyx\" (see: doublenat --help)\n"},
		{name: "unknown flag", args: []string{"serve", "--fast"}, code: exitUsage, stderr: "doublenat: unknown flag: --fast (see: doublenat serve --help)\n"},
		{name: "argument", args: []string{"version", "7"}, code: exitUsage, stderr: "doublenat: doublenat version takes no arguments, but was given \"7\"\n"},
		{name: "help", args: []string{"--help"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			p := &process{
				environ: tt.environ,
				stdout:  &stdout,
				stderr:  &stderr,
				daemon:  func(context.Context, daemon.Options) error { return tt.err },
			}
			if code := p.run(t.Context(), tt.args); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(stderr.String(), tt.stderr) || tt.stderr == "" && stderr.Len() > 0 {
				t.Errorf("stderr %q, want %q", stderr.String(), tt.stderr)
			}
			if strings.Contains(stdout.String()+stderr.String(), "hunter2") {
				t.Error("the password was written")
			}
		})
	}
}

func TestServeHandsOverConfigAndWarnings(t *testing.T) {
	t.Parallel()
	environ := minimal()
	environ["LOG_LEVLE"] = "debug" //nolint:misspell // the misspelling is what is tested
	environ["LOG_FORMAT"] = "json"
	var stderr bytes.Buffer
	var got config.Config
	p := &process{environ: environ, stdout: &stderr, stderr: &stderr, daemon: func(ctx context.Context, o daemon.Options) error {
		got = o.Config
		o.Logger.InfoContext(ctx, "started", "password", o.Config.RouterPassword)
		return nil
	}}
	if code := p.run(t.Context(), nil); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	if want := "10.2.0.1:5351"; got.Gateway.String() != want {
		t.Errorf("gateway %s, want %s", got.Gateway, want)
	}
	for _, want := range []string{`"level":"WARN","msg":"configuration looks odd"`, "did you mean LOG_LEVEL?", `"password":"....."`} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%s lacks %s", stderr.String(), want)
		}
	}
}

func TestNewLogger(t *testing.T) {
	t.Parallel()
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	tests := []struct {
		name    string
		w       fs.File
		environ map[string]string
		want    bool
	}{
		{"terminal", device, nil, true},
		{"user objects", device, map[string]string{"NO_COLOR": "1"}, false},
		{"old terminal", device, map[string]string{"TERM": "dumb"}, false},
		{"file", file, nil, false},
	}
	for _, tt := range tests {
		f, ok := tt.w.(*os.File)
		if !ok {
			t.Fatal("no file")
		}
		if got := colorful(f, tt.environ); got != tt.want {
			t.Errorf("%s: colorful is %v", tt.name, got)
		}
	}

	var text, coded bytes.Buffer
	newLogger(&text, slog.LevelInfo, config.LogAuto, false).Info("mapped", "port", 6881)
	newLogger(&coded, slog.LevelWarn, config.LogJSON, false).Info("mapped")
	if got := text.String(); !strings.HasSuffix(got, "INF mapped port=6881\n") || strings.Contains(got, "\x1b") {
		t.Errorf("text is %q", got)
	}
	if coded.Len() > 0 {
		t.Errorf("below the level: %q", coded.String())
	}
}

func TestVersionOf(t *testing.T) {
	t.Parallel()
	known := debug.BuildInfo{
		Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef"},
			{Key: "vcs.time", Value: "2026-11-22T10:00:00Z"},
			{Key: "vcs.modified", Value: "true"},
		},
	}
	for _, tt := range []struct {
		info        debug.BuildInfo
		stamp, want string
	}{
		{known, "", "doublenat v1.2.3, commit 0123456789ab of 2026-11-22T10:00:00Z, modified, go"},
		{known, "v1.2.4-1-g0123456789ab", "doublenat v1.2.4-1-g0123456789ab, commit 0123456789ab of 2026-11-22T10:00:00Z, modified, go"},
		{debug.BuildInfo{}, "", "doublenat (devel), go"},
		{debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "v1.2.4", "doublenat v1.2.4, go"},
		{debug.BuildInfo{}, "0123456789ab-dirty", "doublenat 0123456789ab-dirty, modified, go"},
	} {
		v := versionOf(&tt.info, tt.stamp)
		if got := v.String(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("got %q, want it to begin with %q", got, tt.want)
		}
		// The page and the metrics show this, and must not call changed files a release.
		if got := v.short(); tt.stamp != "" && got != tt.stamp {
			t.Errorf("in a word %q, want %q", got, tt.stamp)
		}
	}
}

// TestBuildsAreStamped: make binary, which the Dockerfile and every release use, hands the tag or
// commit to the linker.
func TestBuildsAreStamped(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"main.stamp=v9.9.9": {"VERSION=v9.9.9"}, "main.stamp=": nil} {
		out, err := exec.CommandContext(t.Context(), "make", append([]string{"-C", "../..", "-n", "binary"}, args...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "-X "+name) {
			t.Errorf("%v: want -X %s in\n%s", err, name, out)
		}
	}
}

func TestForcedExit(t *testing.T) {
	t.Parallel()
	if got := forcedExit(syscall.SIGTERM); got != 143 {
		t.Errorf("SIGTERM ends with %d", got)
	}
	if got := forcedExit(os.Interrupt); got != 130 {
		t.Errorf("SIGINT ends with %d", got)
	}
	if got := forcedExit(unknownSignal{}); got != exitFailure {
		t.Errorf("an unknown signal ends with %d", got)
	}
}

// unknownSignal is a signal of no system.
type unknownSignal struct{}

func (unknownSignal) Signal() {}

func (unknownSignal) String() string { return "unknown" }

func TestEnvironment(t *testing.T) {
	t.Parallel()
	got := environment([]string{"A=1", "B=x=y", "C=", "A=2", "D"})
	if diff := cmp.Diff(map[string]string{"A": "2", "B": "x=y", "C": "", "D": ""}, got); diff != "" {
		t.Error(diff)
	}
}

// TestInterruptible sends signals to the test process itself, so it is not
// parallel to another test that does.
func TestInterruptible(t *testing.T) {
	t.Parallel()
	if code := interruptible(nil, func(context.Context) int { return 7 }); code != 7 {
		t.Errorf("without a signal: %d", code)
	}
	code := interruptible(nil, func(ctx context.Context) int {
		signalSelf(t, syscall.SIGTERM)
		<-ctx.Done()
		return 8
	})
	if code != 8 {
		t.Errorf("one signal: %d", code)
	}
	release := make(chan struct{})
	ended := make(chan struct{})
	code = interruptible(nil, func(ctx context.Context) int {
		defer close(ended)
		signalSelf(t, syscall.SIGTERM)
		<-ctx.Done()
		signalSelf(t, os.Interrupt)
		<-release // a shutdown that hangs
		return 9
	})
	close(release)
	<-ended
	if code != 130 {
		t.Errorf("two signals: %d", code)
	}
}

func signalSelf(t *testing.T, s os.Signal) {
	t.Helper()
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(s)
	}
	if err != nil {
		t.Error(fmt.Errorf("signaling: %w", err))
	}
}
