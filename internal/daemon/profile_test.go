package daemon_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"doublenat/internal/lab"
)

// signalOn tells when the log has a text.
type signalOn struct {
	text  string
	heard chan struct{}
}

// Write implements io.Writer.
func (s signalOn) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.text) {
		select {
		case s.heard <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

// Profiles are served on demand only, and end with the daemon.
func TestProfilesOnDemand(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	free, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	serving := signalOn{text: "serving profiles", heard: make(chan struct{}, 1)}
	b, err := lab.NewBench(lab.BenchConfig{Logger: slog.New(slog.NewTextHandler(serving, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	get := func() (string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/debug/pprof/goroutine?debug=1", http.NoBody)
		if err != nil {
			return "", err
		}
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	if err := b.Start(map[string]string{"PPROF_ADDR": addr}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-serving.heard:
	case <-time.After(10 * time.Second):
		t.Fatal("profiles are not served")
	}
	if body, err := get(); err != nil || !strings.Contains(body, "daemon.(*Daemon).Run") {
		t.Errorf("goroutines: %.100q, %v", body, err)
	}
	if err := b.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := get(); err == nil {
		t.Error("profiles are served after the end")
	}
	if err := b.Start(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := get(); err == nil {
		t.Error("profiles are served although nobody wanted them")
	}
}
