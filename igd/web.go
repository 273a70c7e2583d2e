package igd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"doublenat/internal/web"
)

// The bounds of HTTP. Requests of real clients have a kilobyte.
const (
	headTime    = 5 * time.Second
	requestTime = 10 * time.Second
	// workTime is how long a mapping may take: clients wait for 30 s (UDA 1.1 §3.2.1), and
	// most for less.
	workTime   = 25 * time.Second
	answerTime = workTime + requestTime
	// restingTime is how long a connection without a request is kept.
	restingTime = 15 * time.Second
	// goodbye is how long a stop waits for requests in work, whose contexts have ended.
	goodbye  = 2 * time.Second
	maxAsked = 8 << 10  // bytes of headers
	maxCall  = 64 << 10 // bytes of a body
)

// Serve answers HTTP on the listener, which it closes, until the context ends; it then
// waits for requests in progress and returns nil. The error is the listener's.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	door := &doorkeeper{ln, s}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler: http.HandlerFunc(s.answer), ReadHeaderTimeout: headTime, ReadTimeout: requestTime, WriteTimeout: answerTime,
		IdleTimeout: restingTime, MaxHeaderBytes: maxAsked, DisableGeneralOptionsHandler: true, Protocols: &protocols,
		ConnState: s.lobby.note, ErrorLog: slog.NewLogLogger(quiet{s}, slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, visitKey{}, conn)
		},
	}
	if err := web.Serve(ctx, server, door, goodbye); err != nil {
		return errors.Join(fmt.Errorf("serving http: %w", err), server.Close())
	}
	return nil
}

// visitKey is where a request's context has its [visit].
type visitKey struct{}

// answer answers one request.
func (s *Server) answer(w http.ResponseWriter, req *http.Request) {
	v, _ := req.Context().Value(visitKey{}).(*visit)
	if v == nil {
		panic(http.ErrAbortHandler) // The listener is not ours.
	}
	from := arrivalOf(v)
	defer s.survive(req, from)
	v.requests++
	if v.requests > 1 && !s.cfg.Admit(from) {
		s.count.notAdmitted.Add(1)
		panic(http.ErrAbortHandler) // It is closed without an answer.
	}
	s.answerOf(w, req, from)
}

// survive ends the connection of a request at which something panicked, which is told of: package
// http would tell of it among clients that break off.
func (s *Server) survive(req *http.Request, from Arrival) {
	p := recover()
	if p == nil {
		return
	}
	if p != http.ErrAbortHandler { //nolint:errorlint // it is not wrapped
		s.panicked(req.Context(), from, "", p)
	}
	panic(http.ErrAbortHandler)
}

// panicked counts a bug and tells of it.
func (s *Server) panicked(ctx context.Context, from Arrival, action string, p any) {
	s.count.panics.Add(1)
	s.log.ErrorContext(ctx, "request of upnp panicked", "client", from.Client, "action", action, "panic", p, "stack", string(debug.Stack()))
}

// answerOf answers a request that was let in.
func (s *Server) answerOf(w http.ResponseWriter, req *http.Request, from Arrival) {
	s.count.requests.Add(1)
	h := w.Header()
	h.Set("Server", s.agent())
	h["EXT"] = []string{""}         // As UDA 1.1 §3.2.2 spells it.
	h.Set("Content-Language", "en") // Who says which languages it takes has to be told (UDA 1.1 §2.11).
	if status, reason := suspect(req); status != 0 {
		s.refuse(w, req, from, status, reason)
		return
	}
	if t, service := s.control(req.URL.Path); service != nil {
		s.answerControl(w, req, from, t, service)
		return
	}
	s.answerPage(w, req, from)
}

// suspect says why a request does not come from a program that looks for a gateway, but
// from a browser that somebody else's page leads here; 0 for no reason.
func suspect(req *http.Request) (status int, reason string) {
	switch {
	case !hostOf(req.Host).Is4():
		// Rebinding leads a name here; an address it cannot. Which one is no matter: some programs put their
		// gateway's in the place of the location's.
		return http.StatusForbidden, "host is no address"
	case req.Header.Get("Origin") != "":
		return http.StatusForbidden, "request of a web page"
	default:
		return 0, ""
	}
}

// hostOf returns the address in a Host header, the zero Addr if it is a name.
func hostOf(host string) netip.Addr {
	if at, err := netip.ParseAddrPort(host); err == nil {
		return at.Addr()
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// answerPage answers with a document.
func (s *Server) answerPage(w http.ResponseWriter, req *http.Request, from Arrival) {
	p, ok := s.pages[req.URL.Path]
	switch {
	case !known(req.Method):
		// SUBSCRIBE among them: whoever is asked to send events may be made to send them
		// anywhere (CVE-2020-12695). Nothing is evented.
		s.refuse(w, req, from, http.StatusNotImplemented, "method is not known")
	case !ok:
		s.refuse(w, req, from, http.StatusNotFound, "no such document")
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		s.refuse(w, req, from, http.StatusMethodNotAllowed, "method is not allowed")
	default:
		s.count.documents.Add(1)
		send(w, http.StatusOK, p)
	}
}

// known says whether HTTP itself has the method.
func known(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch, http.MethodTrace:
		return true
	default:
		return false
	}
}

// send writes a document.
func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", `text/xml; charset="utf-8"`)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// A client that is gone needs no answer. For HEAD package http drops the body.
	_, _ = w.Write(body)
}

// refuse answers with a status alone.
func (s *Server) refuse(w http.ResponseWriter, req *http.Request, from Arrival, status int, reason string) {
	s.count.refused.Add(1)
	if ctx := req.Context(); s.log.Enabled(ctx, slog.LevelDebug) && s.lines.Allow() {
		s.log.DebugContext(ctx, "request refused", "reason", reason, "client", from.Client, "status", status, "method", brief(req.Method), "path", brief(req.URL.Path))
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}

// control returns which service is asked at a path, nil for none.
func (s *Server) control(path string) (*tree, *served) {
	for _, t := range s.trees {
		for i := range t.devices {
			if service := &t.devices[i].service; t.controlPath(service) == path {
				return t, service
			}
		}
	}
	return nil, nil
}

// isXML says whether the type of a body is that of SOAP, which no web page can send without
// asking first.
func isXML(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return (err == nil || errors.Is(err, mime.ErrInvalidMediaParameter)) && kind == "text/xml"
}

// quiet takes the lines of package http, about clients that break off, as debug lines.
type quiet struct{ server *Server }

// Enabled implements [slog.Handler].
func (q quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return q.server.log.Enabled(ctx, slog.LevelDebug) && q.server.lines.Allow()
}

// Handle implements [slog.Handler].
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	q.server.log.DebugContext(ctx, "connection failed", "error", brief(strings.TrimSpace(r.Message)))
	return nil
}

// WithAttrs implements [slog.Handler].
func (q quiet) WithAttrs([]slog.Attr) slog.Handler { return q }

// WithGroup implements [slog.Handler].
func (q quiet) WithGroup(string) slog.Handler { return q }
