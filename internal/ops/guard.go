package ops

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// bodyTimeout is how long a request's body, which nobody wants, may take to arrive.
const bodyTimeout = time.Second

// guard stands before all handlers: it lets reading through and nothing else.
type guard struct {
	next http.Handler
	// hosts are names under which we may be asked for, beside those of home networks.
	hosts []string
	log   *slog.Logger
}

// ServeHTTP checks method and Host, sets the headers that every answer has, and
// turns a panic into an answer that tells nothing.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	defer g.rescue(w, r)
	if r.ContentLength != 0 {
		// Nobody reads the body; that the server waits for it is over soon. Where there is
		// no such deadline, there is no connection to be held either.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	switch {
	case !g.knows(r.Host):
		refuse(w)
		http.Error(w, "This host name is not known here. Use an IP address, or put the name into HTTP_HOSTS.", http.StatusMisdirectedRequest)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		refuse(w)
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Nothing can be changed here.", http.StatusMethodNotAllowed)
	case r.ContentLength != 0:
		refuse(w)
		http.Error(w, "Questions have no body here.", http.StatusBadRequest)
	default:
		g.next.ServeHTTP(w, r)
	}
}

// refuse ends the connection after the answer: who is refused has no use for it, and
// else the server would wait for the rest of the request.
func refuse(w http.ResponseWriter) { w.Header().Set("Connection", "close") }

// rescue ends a handler that panicked. It is deferred.
func (g *guard) rescue(w http.ResponseWriter, r *http.Request) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler: // the server's own
		panic(v)
	default:
		g.log.ErrorContext(r.Context(), "panic in a handler", "path", r.URL.Path, "panic", v)
		refuse(w)
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

// setHeaders sets what every answer has: it is neither framed nor guessed about,
// loads nothing from elsewhere, and is not kept.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}

// knows says whether the value of a Host header is a name of ours. A web page can
// make its own name point to our address and would then read us as its own origin
// (DNS rebinding); it can do so with names of the public DNS only. Addresses, names
// without a dot and names of home networks are none.
func (g *guard) knows(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")), ".")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	if name == "" || strings.ContainsFunc(name, notInHost) {
		return false
	}
	if !strings.Contains(name, ".") || slices.Contains(g.hosts, name) {
		return true
	}
	// RFC 6761, RFC 6762 and its appendix G, RFC 8375, and ICANN's .internal.
	return slices.ContainsFunc([]string{".localhost", ".local", ".lan", ".internal", ".home.arpa"}, func(zone string) bool {
		return strings.HasSuffix(name, zone)
	})
}

// notInHost says whether the rune has no place in a host name in lower case.
func notInHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}
