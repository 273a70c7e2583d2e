package ops_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/internal/ops"
	"doublenat/natpmp"
)

// handler returns a server over parts that are all well, with one name of its own.
func handler(tb testing.TB) http.Handler {
	tb.Helper()
	m, err := ops.NewMonitor(ops.MonitorConfig{About: fine().About, Parts: func() ops.Parts { return fine().Parts }})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := ops.NewServer(ops.ServerConfig{Monitor: m, Hosts: []string{"nat.example.com"}})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// ask sends one request to a handler.
func ask(tb testing.TB, h http.Handler, method, host, path string) *httptest.ResponseRecorder {
	tb.Helper()
	req := httptest.NewRequestWithContext(tb.Context(), method, "http://localhost/", http.NoBody)
	req.Host, req.URL.Path = host, path
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func TestPaths(t *testing.T) {
	t.Parallel()
	h := handler(t)
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/app.js": "text/javascript; charset=utf-8", "/style.css": "text/css; charset=utf-8",
		"/icon.svg": "image/svg+xml", "/favicon.ico": "image/svg+xml", ops.PathStatus: "application/json", ops.PathText: "text/plain; charset=utf-8",
		ops.PathHealth: "text/plain; charset=utf-8", ops.PathReady: "text/plain; charset=utf-8",
		ops.PathMetrics: "text/plain; version=0.0.4; charset=utf-8",
	} {
		w := ask(t, h, http.MethodGet, "localhost:8080", path)
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK && path != ops.PathReady || got != kind || w.Body.Len() == 0 {
			t.Errorf("%s: %d, %q, %d bytes", path, w.Code, got, w.Body.Len())
		}
	}
	for _, path := range []string{"/index.html", "/static/app.js", "/api", "/api/v1", "/debug/pprof/", "/%2e%2e/etc/passwd", "/app.js/x"} {
		if w := ask(t, h, http.MethodGet, "localhost:8080", path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// Every answer, a refusal too, keeps browsers from doing anything foolish with it.
func TestHeaders(t *testing.T) {
	t.Parallel()
	h := handler(t)
	for _, req := range [][3]string{
		{http.MethodGet, "localhost", "/"},
		{http.MethodGet, "localhost", ops.PathStatus},
		{http.MethodGet, "localhost", "/nothing"},
		{http.MethodPost, "localhost", "/"},
		{http.MethodGet, "evil.example", "/"},
	} {
		head := ask(t, h, req[0], req[1], req[2]).Header()
		csp := head.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%v: content security policy %q", req, csp)
		}
		want := map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Access-Control-Allow-Origin": "",
			"Server": "",
		}
		for name, value := range want {
			if got := head.Get(name); got != value {
				t.Errorf("%v: %s is %q, want %q", req, name, got, value)
			}
		}
	}
}

func TestOnlyReading(t *testing.T) {
	t.Parallel()
	h := handler(t)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace, "BREW"} {
		for _, path := range []string{"/", ops.PathStatus, ops.PathEvents, "/nothing"} {
			w := ask(t, h, method, "localhost", path)
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d %v", method, path, w.Code, w.Header())
			}
		}
	}
	for _, path := range []string{"/", ops.PathStatus, ops.PathHealth, ops.PathEvents} {
		if w := ask(t, h, http.MethodHead, "localhost", path); w.Code != http.StatusOK {
			t.Errorf("HEAD %s: %d", path, w.Code)
		}
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", strings.NewReader("x"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code != http.StatusBadRequest || w.Header().Get("Connection") != "close" {
		t.Errorf("a question with a body: %d %v", w.Code, w.Header())
	}
}

// A web page of somebody else that makes its name point to us is not answered.
func TestHostNames(t *testing.T) {
	t.Parallel()
	h := handler(t)
	for host, known := range map[string]bool{
		"127.0.0.1:8080": true, "192.168.88.2": true, "[::1]:8080": true, "[fe80::1]": true, "localhost": true, "doublenat:8080": true,
		"router.lan": true, "nat.local:80": true, "nat.home.arpa": true, "nat.corp.internal": true, "x.localhost": true,
		"nat.example.com": true, "NAT.example.com.:8080": true,
		"": false, "evil.example": false, "nat.example.com.evil.example": false, "xnat.example.com": false, "192.168.88.2.nip.io": false,
		"evil.example:8080": false, "lan.evil.example": false, ".": false, "a b": false, "127.0.0.1.evil.example": false, "local": true,
		"evil.example/.lan": false, "<script>.lan": false,
	} {
		w := ask(t, h, http.MethodGet, host, ops.PathStatus)
		if got := w.Code == http.StatusOK; got != known {
			t.Errorf("%q: %d", host, w.Code)
		}
		if !known && w.Code != http.StatusMisdirectedRequest {
			t.Errorf("%q: %d, want 421", host, w.Code)
		}
	}
}

func TestPageIsKept(t *testing.T) {
	t.Parallel()
	h := handler(t)
	first := ask(t, h, http.MethodGet, "localhost", "/app.js")
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/app.js", http.NoBody)
	req.Header.Set("If-None-Match", first.Header().Get("Etag"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code != http.StatusNotModified || w.Body.Len() > 0 || w.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("%d, %d bytes, %v", w.Code, w.Body.Len(), w.Header())
	}
}

// A panic of a part is an answer without a stack trace, and not the end.
func TestPanicIsHidden(t *testing.T) {
	t.Parallel()
	m, err := ops.NewMonitor(ops.MonitorConfig{Parts: func() ops.Parts { panic("a secret") }})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ops.NewServer(ops.ServerConfig{Monitor: m})
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(t, s, http.MethodGet, "localhost", ops.PathHealth); w.Code != http.StatusInternalServerError || w.Body.String() != "internal error\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := ops.NewMonitor(ops.MonitorConfig{}); err == nil {
		t.Error("a monitor of nothing")
	}
	if _, err := ops.NewServer(ops.ServerConfig{}); err == nil {
		t.Error("a server of nothing")
	}
}

// Whatever is asked, the answer is one of a few, with its headers, and shows nothing
// of what was sent.
func FuzzRequests(f *testing.F) {
	f.Add("GET", "localhost:8080", "/")
	f.Add("HEAD", "127.0.0.1", "/api/v1/status")
	f.Add("POST", "nat.example.com", "/metrics")
	f.Add("GET", "evil.example", "/../../etc/passwd")
	f.Add("GET", "[::1", "/%00<script>")
	f.Add("TRACE", "a\x00b", "//")
	h := handler(f)
	f.Fuzz(func(t *testing.T, method, host, path string) {
		if path == ops.PathEvents {
			t.Skip("it does not end")
		}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", http.NoBody)
		req.Method, req.Host, req.URL.Path = method, host, path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		switch w.Code {
		case http.StatusOK, http.StatusServiceUnavailable, http.StatusNotModified, http.StatusMovedPermanently, http.StatusTemporaryRedirect,
			http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusMisdirectedRequest:
		default:
			t.Errorf("%q %q %q: %d", method, host, path, w.Code)
		}
		if w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%q %q %q: no content security policy", method, host, path)
		}
		if w.Code == http.StatusOK && method != http.MethodGet && method != http.MethodHead {
			t.Errorf("%q was let through", method)
		}
	})
}

// A page that is open for hours of traffic keeps its connection, and nothing grows. It
// runs alone, since it counts what the whole process has.
func TestPageOpenForAnHour(t *testing.T) {
	cfg := rfc()
	cfg.Router.Journal = 64 // the usual one takes eight hours to be full
	onBench(t, cfg, func(r *rig) {
		p := r.watch()
		defer p.close()
		var n atomic.Int64
		var last atomic.Pointer[ops.Status]
		done := make(chan error, 1)
		go func() {
			for {
				s, err := p.read()
				if err != nil {
					done <- err
					return
				}
				n.Add(1)
				last.Store(&s)
			}
		}()
		r.hour() // all that is bounded gets full
		size, memory, goroutines := r.size(), heap(), runtime.NumGoroutine()
		r.hour()
		if grown := r.size() - size; grown > 2000 {
			t.Errorf("the picture grew by %d bytes", grown)
		}
		if grown := heap() - memory; grown > 512<<10 { // 240 pictures have 7 MB
			t.Errorf("the memory grew by %d kB", grown>>10)
		}
		if now := runtime.NumGoroutine(); now > goroutines+8 {
			t.Errorf("%d goroutines, %d an hour before", now, goroutines)
		}
		p.close()
		if err := <-done; !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "context canceled") {
			t.Errorf("the stream ended by itself: %v", err)
		}
		if s := last.Load(); n.Load() < 240 || len(s.Mappings) != 50 || len(s.Events) != 50 || len(s.Series.Mappings) != 120 || len(s.Series.GatewayMS) != 120 {
			t.Errorf("%d pictures, the last with %d mappings, %d events, %d and %d points", n.Load(), len(s.Mappings), len(s.Events), len(s.Series.Mappings), len(s.Series.GatewayMS))
		}
		time.Sleep(time.Second)
		_, _, metrics := r.get(ops.PathMetrics)
		if got := metric(metrics, ops.MetricWatchers) + metric(metrics, ops.MetricWatchersDropped); got != "00" {
			t.Errorf("watchers and those dropped: %s", got)
		}
	})
}

// hour is an hour of traffic: ten ports that are kept, and forty at a time that end
// when nobody renews them.
func (r *rig) hour() {
	r.t.Helper()
	for i := range uint16(120) {
		r.mapped(alice, natpmp.OpMapTCP, 1000+i%10)
		if i%3 == 2 {
			r.ask(alice, natpmp.OpMapUDP, 2000+i)
		}
		time.Sleep(30 * time.Second)
		r.get(ops.PathStatus)
	}
}

// size is how long the picture is.
func (r *rig) size() int {
	r.t.Helper()
	_, _, body := r.get(ops.PathStatus)
	return len(body)
}

// A stream without news says that it is alive, in a way that a page can see.
func TestStreamIsAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, wire: newWire()}
		r.http = &http.Client{Transport: &http.Transport{DialContext: r.wire.dial, DisableKeepAlives: true}}
		defer r.serve()()
		p := r.watch()
		defer p.close()
		p.next()
		p.next() // now that somebody watches
		began := time.Now()
		for _, want := range []string{"\n", "event: alive\n", "data:\n", "\n"} {
			if line, err := p.lines.ReadString('\n'); line != want || err != nil {
				t.Fatalf("got %q, want %q: %v", line, want, err)
			}
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// A stream ends with the daemon.
func TestStreamEndsWithDaemon(t *testing.T) {
	t.Parallel()
	onBench(t, rfc(), func(r *rig) {
		p := r.watch()
		defer p.close()
		p.next()
		done := make(chan []string, 1)
		go func() {
			var stops []string
			for {
				s, err := p.read()
				if err != nil {
					done <- stops
					return
				}
				stops = append(stops, s.Verdict.Title)
			}
		}()
		r.mapped(alice, natpmp.OpMapTCP, 1000)
		time.Sleep(5 * time.Second)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		got := <-done
		if len(got) == 0 || got[0] != "1 port is open" {
			t.Errorf("pictures: %q", got)
		}
	})
}

// A watcher that does not read is let go; the others, and the daemon, do not wait.
func TestSlowWatcherIsDropped(t *testing.T) {
	t.Parallel()
	onBench(t, rfc(), func(r *rig) {
		slow, fast := r.watch(), r.watch()
		defer slow.close()
		defer fast.close()
		seen := make(chan int, 1)
		go func() {
			n := 0
			for {
				if _, err := fast.read(); err != nil {
					seen <- n
					return
				}
				n++
			}
		}()
		for i := range uint16(30) {
			began := time.Now()
			r.mapped(alice, natpmp.OpMapTCP, 1000+i)
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Errorf("mapping %d took %v", i, took)
			}
			time.Sleep(2 * time.Second)
		}
		_, _, metrics := r.get(ops.PathMetrics)
		if got := metric(metrics, ops.MetricWatchers) + " " + metric(metrics, ops.MetricWatchersDropped); got != "1 1" {
			t.Errorf("watchers and those dropped: %s", got)
		}
		fast.close()
		if n := <-seen; n < 30 {
			t.Errorf("the fast one saw %d pictures", n)
		}
	})
}

func TestTooManyWatchers(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{}, func(r *rig) {
		var pages []*page
		for range 128 {
			pages = append(pages, r.watch())
		}
		code, header, body := r.get(ops.PathEvents)
		if code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || body != "too many pages are open\n" {
			t.Errorf("%d %v %q", code, header, body)
		}
		if code, _, _ := r.get(ops.PathHealth); code != http.StatusOK {
			t.Errorf("health with 128 pages: %d", code)
		}
		for _, p := range pages {
			p.close()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.watch().close()
	})
}

// Readiness and health through a life.
func TestReadiness(t *testing.T) {
	t.Parallel()
	onBench(t, rfc(), func(r *rig) {
		code, _, body := r.get(ops.PathReady)
		want := "ready: Ready, no port is open yet\nok lan: no client has asked yet\nok router: rules can be made\nok gateway: grants leases\nok address: confirmed\n"
		if diff := cmp.Diff(want, body); diff != "" || code != http.StatusOK {
			t.Errorf("%d (-want +got):\n%s", code, diff)
		}
		r.Gateway.Refuse(true)
		time.Sleep(2 * time.Minute)
		code, _, body = r.get(ops.PathReady)
		if code != http.StatusServiceUnavailable || !strings.HasPrefix(body, "not ready: Gateway: refuses NAT-PMP\n") {
			t.Errorf("%d %s", code, body)
		}
		if code, _, body := r.get(ops.PathHealth); code != http.StatusOK || body != "alive\n" {
			t.Errorf("health %d %q", code, body)
		}
	})
}

// Not ready is who cannot map, whatever the hops say.
func TestNotReadyWhereNothingCanBeMapped(t *testing.T) {
	t.Parallel()
	for name, environ := range map[string]map[string]string{
		"read-only": {"READ_ONLY": "true"},
		"full":      {"MAX_MAPPINGS": "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := rfc()
			cfg.Environ = environ
			onBench(t, cfg, func(r *rig) {
				_ = r.ask(alice, natpmp.OpMapTCP, 80)
				time.Sleep(time.Second)
				code, _, body := r.get(ops.PathReady)
				_, _, metrics := r.get(ops.PathMetrics)
				if code != http.StatusServiceUnavailable || !strings.HasPrefix(body, "not ready: LAN: ") || !strings.Contains(metrics, "\ndoublenat_ready 0\n") {
					r.t.Errorf("%d %s", code, body)
				}
				if code, _, _ := r.get(ops.PathHealth); code != http.StatusOK {
					r.t.Errorf("health: %d", code)
				}
			})
		})
	}
}

// A daemon that is stuck is not healthy, and says what is stuck.
func TestUnhealthy(t *testing.T) {
	t.Parallel()
	m, err := ops.NewMonitor(ops.MonitorConfig{
		Parts: func() ops.Parts { return fine().Parts }, Alive: func() error { return errors.New("the core is stuck\nfor 30s") },
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ops.NewServer(ops.ServerConfig{Monitor: m})
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(t, s, http.MethodGet, "localhost", ops.PathHealth); w.Code != http.StatusServiceUnavailable || w.Body.String() != "stuck: the core is stuck\\nfor 30s\n" {
		t.Errorf("%d %q", w.Code, w.Body.String())
	}
}

// BenchmarkWatchers is what a picture costs with 100 pages open and 50 mappings.
func BenchmarkWatchers(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			benchmarkWatchers(b, n)
		})
	}
}
