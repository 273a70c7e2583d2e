package ops

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"doublenat/internal/foreign"
)

// The paths of the API, which docs/openapi.yaml describes.
const (
	PathHealth  = "/healthz"
	PathReady   = "/readyz"
	PathMetrics = "/metrics"
	PathStatus  = "/api/v1/status"
	PathEvents  = "/api/v1/events"
	PathText    = "/status.txt"
)

// route is one path of the API.
type route struct {
	path  string
	serve func(*Monitor, http.ResponseWriter, *http.Request)
}

// routes are all of them: what is not here is not served.
func routes() []route {
	return []route{
		{PathHealth, (*Monitor).serveHealth},
		{PathReady, (*Monitor).serveReady},
		{PathMetrics, (*Monitor).serveMetrics},
		{PathStatus, (*Monitor).serveStatus},
		{PathEvents, (*Monitor).serveEvents},
		{PathText, (*Monitor).serveText},
	}
}

// Paths lists the paths that are served, without the page and its files.
func Paths() []string {
	var all []string
	for _, r := range routes() {
		all = append(all, r.path)
	}
	return all
}

// files are the page and what belongs to it.
//
//go:embed static
var files embed.FS

const (
	// keepAlive is how often a stream without news says that it is alive. A page that
	// hears nothing for three seconds says that it lost us.
	keepAlive = time.Second
	// writeTimeout is how long a reader may take for one write.
	writeTimeout = 10 * time.Second
)

// handler returns all that is served, without the guard.
func (m *Monitor) handler() (http.Handler, error) {
	mux := http.NewServeMux()
	for _, r := range routes() {
		mux.HandleFunc(r.path, func(w http.ResponseWriter, req *http.Request) { r.serve(m, w, req) })
	}
	entries, err := files.ReadDir("static")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		content, err := files.ReadFile("static/" + e.Name())
		if err != nil {
			return nil, err
		}
		at := "/" + e.Name()
		if e.Name() == "index.html" {
			at = "/{$}"
		}
		mux.Handle(at, page(e.Name(), content))
		if e.Name() == "icon.svg" {
			// Browsers look here for what has no page that names an icon, like the text.
			mux.Handle("/favicon.ico", page(e.Name(), content))
		}
	}
	return mux, nil
}

// page serves one file. The browser keeps it and asks each time whether it changed.
func page(name string, content []byte) http.Handler {
	kind := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".svg": "image/svg+xml", ".webmanifest": "application/manifest+json",
	}[path.Ext(name)]
	sum := sha256.Sum256(content)
	tag := fmt.Sprintf("%q", fmt.Sprintf("%x", sum[:8]))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Etag", tag)
		h.Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	})
}

// serveHealth says that the daemon is alive: that nothing in it is stuck.
func (m *Monitor) serveHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := m.alive(); err != nil {
		http.Error(w, "stuck: "+foreign.Text(err.Error()), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("alive\n")) // who does not read the answer gets none
}

// serveReady says whether new mappings can be made, and how each hop is doing.
func (m *Monitor) serveReady(w http.ResponseWriter, _ *http.Request) {
	s := m.Status()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !s.Verdict.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write([]byte(readiness(s))) // who does not read the answer gets none
}

// readiness is the body of /readyz: the verdict, and a line for each hop.
func readiness(s Status) string {
	var b strings.Builder
	b.WriteString(map[bool]string{true: "ready", false: "not ready"}[s.Verdict.Ready])
	fmt.Fprintf(&b, ": %s\n", s.Verdict.Title)
	for _, h := range s.Hops {
		fmt.Fprintf(&b, "%s %s: %s", h.State, h.Name, h.Summary)
		if why := cmp.Or(h.Error, h.Detail); h.State.broken() && why != "" {
			fmt.Fprintf(&b, " (%s)", why)
		}
		if h.Remedy != "" {
			fmt.Fprintf(&b, "; remedy: %s", h.Advice())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// serveMetrics shows the metrics.
func (m *Monitor) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", textFormat)
	_, _ = w.Write(m.metrics.text()) // who does not read the answer gets none
}

// serveStatus shows the picture of this moment.
func (m *Monitor) serveStatus(w http.ResponseWriter, r *http.Request) {
	data, err := json.Marshal(m.Status())
	if err != nil {
		m.log.ErrorContext(r.Context(), "status cannot be shown", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(data, '\n')) // who does not read the answer gets none
}

// serveText shows the picture of this moment as a plain table, for browsers without
// JavaScript.
func (m *Monitor) serveText(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = WriteText(w, m.Status(), TextOptions{Events: kept}) // who does not read the answer gets none
}

// serveEvents shows each new picture until the reader goes away or does not keep up
// (HTML Living Standard §9.2, server-sent events).
func (m *Monitor) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would wait for more
	if r.Method == http.MethodHead {
		return
	}
	watcher, err := m.watch(hostOfRequest(r))
	if err != nil {
		w.Header().Set("Retry-After", "60")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer m.leave(watcher)
	out := stream{w: w, control: http.NewResponseController(w)}
	if !out.send([]byte("retry: 1000\n\n")) {
		return
	}
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		// An event, not a comment: a page cannot see comments, and has to know a
		// connection that died in silence from one without news.
		message := []byte("event: alive\ndata:\n\n")
		select {
		case <-r.Context().Done():
			return
		case <-alive.C:
		case picture, ok := <-watcher.pictures:
			if !ok {
				return
			}
			message = picture
			alive.Reset(keepAlive)
		}
		if !out.send(message) {
			return
		}
	}
}

// stream is the answer to a watcher.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// send writes a message at once, and says whether the reader took it in time.
func (s stream) send(message []byte) bool {
	if s.control.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
		return false
	}
	if _, err := s.w.Write(message); err != nil {
		return false
	}
	return s.control.Flush() == nil
}
