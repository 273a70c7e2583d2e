// Package profiling serves profiles of the running process to developers, in the
// form that `go tool pprof` reads.
//
// It stands in for net/http/pprof, which puts itself into the default mux of every
// program that it is linked into, and shows command line and symbols besides.
package profiling

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"

	"doublenat/internal/web"
)

// The bounds of a request.
const (
	defaultSeconds = 30
	maxSeconds     = 300
	shutdownTime   = time.Second
)

// Serve answers on the listener until ctx ends, and returns nil when nothing of it
// is left. Profiles under way are cut short. The listener is closed.
func Serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler:           Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	if err := web.Serve(ctx, server, ln, shutdownTime); err != nil {
		return fmt.Errorf("serving profiles: %w", err)
	}
	return nil
}

// Handler answers /debug/pprof/ and what is below it.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/{$}", index)
	mux.HandleFunc("GET /debug/pprof/profile", cpu)
	mux.HandleFunc("GET /debug/pprof/trace", execution)
	mux.HandleFunc("GET /debug/pprof/{name}", lookup)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A web page that makes a browser on this host ask us comes with its own name.
		if at, err := netip.ParseAddrPort(r.Host); err != nil || !at.Addr().IsLoopback() {
			http.Error(w, "ask by the loopback address", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// index lists the profiles.
func index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, p := range pprof.Profiles() {
		_, _ = fmt.Fprintf(w, "%s %d\n", p.Name(), p.Count()) // who left early misses nothing
	}
	_, _ = fmt.Fprint(w, "profile?seconds=30\ntrace?seconds=30\n")
}

// lookup sends one of the profiles of package runtime/pprof.
func lookup(w http.ResponseWriter, r *http.Request) {
	p := pprof.Lookup(r.PathValue("name"))
	if p == nil {
		http.Error(w, "there is no such profile", http.StatusNotFound)
		return
	}
	verbose, _ := strconv.Atoi(r.FormValue("debug")) // anything else means the binary form
	_ = p.WriteTo(w, verbose)                        // the reader has left, or has it all
}

// cpu sends a CPU profile.
func cpu(w http.ResponseWriter, r *http.Request) {
	record(w, r, func() error { return pprof.StartCPUProfile(w) }, pprof.StopCPUProfile)
}

// execution sends an execution trace.
func execution(w http.ResponseWriter, r *http.Request) {
	record(w, r, func() error { return trace.Start(w) }, trace.Stop)
}

// record runs something for as many seconds as are asked for.
func record(w http.ResponseWriter, r *http.Request, start func() error, stop func()) {
	seconds := defaultSeconds
	if text := r.FormValue("seconds"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxSeconds {
			http.Error(w, fmt.Sprintf("seconds: want a number from 1 to %d", maxSeconds), http.StatusBadRequest)
			return
		}
		seconds = n
	}
	if err := start(); err != nil {
		http.Error(w, err.Error(), http.StatusConflict) // one is under way
		return
	}
	defer stop()
	timer := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}
