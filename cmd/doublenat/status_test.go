package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"doublenat/internal/gateway"
	"doublenat/internal/ops"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
)

// showing serves the status of parts on a socket in a directory of the test, and
// returns its address.
func showing(t *testing.T, parts func() ops.Parts) string {
	t.Helper()
	m, err := ops.NewMonitor(ops.MonitorConfig{About: ops.About{Version: "v1.2.3"}, Parts: parts})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ops.NewServer(ops.ServerConfig{Monitor: m})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = m.Run(ctx) })
	serving.Go(func() { _ = s.Serve(ctx, l) })
	t.Cleanup(func() {
		stop()
		serving.Wait()
	})
	return "unix:" + path
}

// silent is a daemon whose gateway is silent.
func silent() ops.Parts {
	return ops.Parts{
		Router:  router.Status{Connected: true, Ready: true},
		Gateway: gateway.Stats{State: gateway.StateSilent, Advice: remedy.Advice{Text: "check the route"}},
	}
}

// runStatus runs the command and returns what it wrote.
func runStatus(t *testing.T, environ map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &process{environ: environ, stdout: &out, stderr: &errs}
	code = p.run(t.Context(), append([]string{"status"}, args...))
	return code, out.String(), errs.String()
}

func TestStatus(t *testing.T) {
	t.Parallel()
	environ := map[string]string{"HTTP_ADDR": showing(t, silent)}
	code, out, errs := runStatus(t, environ)
	if code != exitOK || errs != "" || !strings.HasPrefix(out, "✗ Gateway: silent\n") || !strings.Contains(out, "What to do: check the route\n") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	code, out, errs = runStatus(t, nil, "--json", "--addr", environ["HTTP_ADDR"])
	var s ops.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != exitOK || errs != "" || s.Verdict.Hop != ops.HopGateway || s.Version != "v1.2.3" {
		t.Errorf("%d %v %q %q", code, err, out, errs)
	}
	code, out, errs = runStatus(t, environ, "--health")
	if code != exitOK || out != "alive\n" || errs != "" {
		t.Errorf("health: %d %q %q", code, out, errs)
	}
}

// The address that status suggests is the one that the packages set.
func TestPageOfPackages(t *testing.T) {
	t.Parallel()
	env, err := os.ReadFile("../../contrib/systemd/doublenat.env")
	if err != nil || !strings.Contains(string(env), "\nHTTP_ADDR="+packagePage+"\n") {
		t.Errorf("%v: no HTTP_ADDR=%s in\n%s", err, packagePage, env)
	}
}

func TestStatusWithoutDaemon(t *testing.T) {
	t.Parallel()
	nobody := "unix:" + filepath.Join(t.TempDir(), "nobody")
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	at := strings.TrimPrefix(other.URL, "http://")
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"no address", nil, exitUsage, "as the packages set it, --addr 127.0.0.1:8080"},
		{"bad address", []string{"--addr", "nonsense"}, exitUsage, `--addr="nonsense" has no port; example: 127.0.0.1:8080`},
		{"nobody", []string{"--addr", nobody}, exitFailure, "no answer at " + nobody + ", is the daemon running"},
		{"nobody is not healthy", []string{"--health", "--addr", nobody}, exitFailure, "no answer at"},
		{"nobody to watch", []string{"--watch", "--addr", nobody}, exitFailure, "no answer at"},
		{"somebody else", []string{"--addr", at}, exitFailure, "is 404 Not Found: 404 page not found"},
		{"two ways at once", []string{"--health", "--json", "--addr", nobody}, exitUsage, "goes with neither"},
	} {
		code, out, errs := runStatus(t, nil, tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.stderr) || out != "" {
			t.Errorf("%s: %d %q %q, want %d %q", tt.name, code, out, errs, tt.code, tt.stderr)
		}
	}
}

// ender ends a context when it was written to so many times.
type ender struct {
	mu   sync.Mutex
	text strings.Builder
	left int
	end  context.CancelFunc
}

func (e *ender) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.left--; e.left == 0 {
		e.end()
	}
	return e.text.Write(b)
}

// Watching shows the picture at once, and again when it changes.
func TestStatusWatch(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	parts := silent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	at := showing(t, func() ops.Parts {
		mu.Lock()
		defer mu.Unlock()
		parts.Router.Version += "1" // each picture is another one
		return parts
	})
	out := &ender{left: 2, end: cancel}
	p := &process{stdout: out, stderr: out}
	if code := p.run(ctx, []string{"status", "--watch", "--json", "--addr", at}); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if got := strings.Count(out.text.String(), `"title":"Gateway: silent"`); got != 2 {
		t.Errorf("%d pictures:\n%s", got, out.text.String())
	}
}

func TestPaint(t *testing.T) {
	t.Parallel()
	for state, want := range map[ops.State]string{
		ops.StateOK: "\x1b[32mx\x1b[0m", ops.StateDegraded: "\x1b[33mx\x1b[0m", ops.StateDown: "\x1b[31mx\x1b[0m", ops.StateUnknown: "\x1b[90mx\x1b[0m",
	} {
		if got := paint(state, "x"); got != want {
			t.Errorf("%s: %q", state, got)
		}
	}
}
