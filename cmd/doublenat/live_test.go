package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"doublenat/internal/check"
)

// dead is an address with a port that nobody listens on.
func dead(t *testing.T) netip.AddrPort {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort(l.Addr().String())
}

// answering is a server that answers every request with the code.
func answering(t *testing.T, code int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	t.Cleanup(s.Close)
	return s.URL + "/port/{port}"
}

// TestAttempts tells an attempt that could not be made from one that came to nothing.
func TestAttempts(t *testing.T) {
	t.Parallel()
	public := dead(t)
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hanging.Close)
	here := netip.MustParseAddr("127.0.0.1")
	for name, tt := range map[string]struct {
		try   func(ctx context.Context) error
		tried bool
		text  string
	}{
		"from here":               {func(ctx context.Context) error { return connectFrom(ctx, here, public) }, true, "refused"},
		"from an address of none": {func(ctx context.Context) error { return connectFrom(ctx, netip.MustParseAddr("203.0.113.77"), public) }, false, "203.0.113.77"},
		"no such host":            {func(ctx context.Context) error { return echo(ctx, "http://no..where/", public) }, false, "no such host"},
		"nobody there":            {func(ctx context.Context) error { return echo(ctx, "http://"+public.String()+"/", public) }, false, "refused"},
		"bad request":             {func(ctx context.Context) error { return echo(ctx, answering(t, http.StatusNotFound), public) }, false, "404 Not Found"},
		"broken": {func(ctx context.Context) error {
			return echo(ctx, answering(t, http.StatusInternalServerError), public)
		}, false, "500"},
		"not reached by it": {func(ctx context.Context) error { return echo(ctx, answering(t, http.StatusBadGateway), public) }, true, "502"},
		"still trying": {func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			return echo(ctx, hanging.URL, public)
		}, true, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.try(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v, want %q", err, tt.text)
			}
			if _, not := errors.AsType[*check.NotTriedError](err); not == tt.tried {
				t.Errorf("%v: tried: %v, want %v", err, !not, tt.tried)
			}
		})
	}
	if err := echo(t.Context(), answering(t, http.StatusOK), public); err != nil {
		t.Error(err)
	}
}
