package profiling_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"doublenat/internal/profiling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHandler(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, host, path string
		code                     int
		body                     string
	}{
		{"index", "GET", "127.0.0.1:6060", "/debug/pprof/", 200, "goroutine "},
		{"goroutines", "GET", "127.0.0.1:6060", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile: total"},
		{"heap over IPv6", "GET", "[::1]:6060", "/debug/pprof/heap", 200, "\x1f\x8b"},
		{"no such profile", "GET", "127.0.0.1:6060", "/debug/pprof/cmdline", 404, "no such profile"},
		{"nothing else", "GET", "127.0.0.1:6060", "/", 404, ""},
		{"changing", "POST", "127.0.0.1:6060", "/debug/pprof/heap", 405, ""},
		{"a web page of somebody else", "GET", "evil.example:6060", "/debug/pprof/heap", 403, ""},
		{"by name", "GET", "localhost:6060", "/debug/pprof/heap", 403, ""},
		{"no time", "GET", "127.0.0.1:6060", "/debug/pprof/profile?seconds=0", 400, "1 to 300"},
		{"for ever", "GET", "127.0.0.1:6060", "/debug/pprof/trace?seconds=301", 400, "1 to 300"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil)
			req.Host = tt.host
			w := httptest.NewRecorder()
			profiling.Handler().ServeHTTP(w, req)
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.body) {
				t.Errorf("code %d, %q", w.Code, w.Body.String())
			}
		})
	}
}

// Only one recording runs at a time, and it ends with the server.
func TestServe(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- profiling.Serve(ctx, ln) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ln.Addr().String()+"/debug/pprof/trace?seconds=300", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	first, err := client.Do(req) // the header comes at once
	if err != nil {
		t.Fatal(err)
	}
	defer first.Body.Close()
	second, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Body.Close()
	if second.StatusCode != http.StatusConflict {
		t.Errorf("a second trace at the same time: %s", second.Status)
	}
	cancel()
	content, err := io.ReadAll(first.Body)
	if err != nil || !bytes.HasPrefix(content, []byte("go 1.")) {
		t.Errorf("the trace is %d bytes, %v", len(content), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestServeOnADeadListener(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := profiling.Serve(t.Context(), ln); err == nil {
		t.Error("no error")
	}
}
