//go:build unix

package hook_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/hook"
	"doublenat/internal/nat"
)

// runs starts a notifier that runs a script, gives it the event, and stops it when
// the event was delivered or has failed. It returns the log.
func runs(t *testing.T, script string, timeout time.Duration, args ...string) (hook.Stats, string) {
	t.Helper()
	var log bytes.Buffer
	n, err := hook.New(hook.Config{
		Exec: append([]string{"/bin/sh", "-c", script, "sh"}, args...), ExecTimeout: timeout, Instance: "default",
		External: func() (netip.Addr, bool) { return public, true },
		Logger:   slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Run(ctx) })
	ev := happened(nat.EventPortChanged, alice, 40000, 39999)
	ev.Mapping.By, ev.Mapping.Description = nat.IGD, `a 'b' $(reboot) <b>`
	n.Mapping(ev)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got := n.Stats()["hook_exec"]; got.Delivered+got.Failed > 0 {
			break
		}
	}
	cancel()
	running.Wait()
	return n.Stats()["hook_exec"], log.String() // what became of it is counted one by one
}

func TestExec(t *testing.T) {
	t.Setenv("MIKROTIK_API_PASSWORD", "s3cret")
	out := filepath.Join(t.TempDir(), "out")
	got, log := runs(t, `{ cat; pwd; echo "$1"; env | sort; } > "$2"`, 20*time.Second, "a 'b'", out)
	if want := (hook.Stats{Delivered: 1}); got != want || log != "" {
		t.Fatalf("stats %+v, log %s", got, log)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	body, rest, _ := strings.Cut(string(text), "\n")
	ev := decode(t, body)
	if ev.Kind != "port_changed" || ev.ExternalPort != 40000 || ev.ExternalAddress != public || ev.By != "igd" || ev.Description != `a 'b' $(reboot) <b>` {
		t.Errorf("standard input had %+v", ev)
	}
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(rest), "\n") {
		switch {
		case strings.HasPrefix(line, "PWD="), strings.HasPrefix(line, "OLDPWD="), strings.HasPrefix(line, "SHLVL="), strings.HasPrefix(line, "_="):
			// the shell's own
		default:
			lines = append(lines, line)
		}
	}
	want := []string{
		"/", "a 'b'",
		"DOUBLENAT_ACTIVE=true", "DOUBLENAT_BY=igd", "DOUBLENAT_CLIENT=192.168.88.10", "DOUBLENAT_DESCRIPTION=a 'b' $(reboot) <b>", "DOUBLENAT_EVENT=port_changed",
		"DOUBLENAT_EXTERNAL_ADDRESS=5.6.7.8", "DOUBLENAT_EXTERNAL_PORT=40000", "DOUBLENAT_INSTANCE=default",
		"DOUBLENAT_INTERNAL_PORT=6881", "DOUBLENAT_OLD_EXTERNAL_ADDRESS=", "DOUBLENAT_OLD_EXTERNAL_PORT=39999",
		"DOUBLENAT_PROTOCOL=tcp", "DOUBLENAT_TIME=" + ev.Time.Format(time.RFC3339),
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("the program saw (-want +got):\n%s", diff)
	}
}

func TestExecThatFails(t *testing.T) {
	t.Parallel()
	got, log := runs(t, `head -c 100000 /dev/zero | tr '\0' x; echo no such app >&2; exit 3`, 20*time.Second)
	if want := (hook.Stats{Failed: 1, Lost: 1}); got != want {
		t.Errorf("stats %+v, want %+v: a program is not run twice", got, want)
	}
	if !strings.Contains(log, "exit status 3") || !strings.Contains(log, "no such app") || len(log) > 2000 {
		t.Errorf("log of %d bytes: %.3000s", len(log), log)
	}
}

func TestExecThatIsMissing(t *testing.T) {
	t.Parallel()
	n, err := hook.New(hook.Config{Exec: []string{"/no/such/program"}})
	if err != nil {
		t.Fatal(err)
	}
	n.Mapping(happened(nat.EventCreated, alice, 1, 0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx); err != nil {
		t.Error(err)
	}
	if got, want := n.Stats()["hook_exec"], (hook.Stats{Failed: 1, Lost: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

// A program that takes too long is killed, and so are its children.
func TestExecThatHangs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	got, log := runs(t, `sleep 300 & echo $! > "$1"; sleep 300`, time.Second, pids)
	if want := (hook.Stats{Failed: 1, Lost: 1}); got != want || !strings.Contains(log, "killed after 1s") {
		t.Errorf("stats %+v, log %s", got, log)
	}
	pid, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); alive(strings.TrimSpace(string(pid))); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the program's child still runs")
		}
	}
}

// alive says whether a process runs; a dead one that nobody has waited for does not.
func alive(pid string) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

// A program may leave something running; nobody waits for that.
func TestExecThatLeavesAChild(t *testing.T) {
	t.Parallel()
	began := time.Now()
	got, log := runs(t, `sleep 60 & exit 0`, 90*time.Second)
	if want := (hook.Stats{Delivered: 1}); got != want || log != "" {
		t.Errorf("stats %+v, log %s", got, log)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %v, want about a second", took)
	}
}
