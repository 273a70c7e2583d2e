package hook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/hook"
	"doublenat/internal/nat"
)

var (
	public = netip.MustParseAddr("5.6.7.8")
	alice  = nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: 6881}
	bob    = nat.Key{Client: netip.MustParseAddr("192.168.88.11"), Protocol: nat.UDP, InternalPort: 53}
)

// happened returns an event of the core, now.
func happened(kind nat.EventKind, key nat.Key, external, old uint16) nat.Event {
	return nat.Event{Kind: kind, At: time.Now(), Mapping: nat.Mapping{Key: key, ExternalPort: external}, OldPort: old}
}

// receiver is an HTTP server in memory.
type receiver struct {
	mu      sync.Mutex
	bodies  []string
	seen    []*http.Request
	status  int           // of replies; 0 is 204
	delay   time.Duration // before replies
	down    bool          // refuses connections
	hangs   int           // requests that are never answered
	refuses string        // answers 400 to bodies with this text in them, if it is not empty
	conns   chan net.Conn
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.bodies = append(r.bodies, string(body))
	r.seen = append(r.seen, req)
	status, delay := r.status, r.delay
	if r.refuses != "" && strings.Contains(string(body), r.refuses) {
		status = http.StatusBadRequest
	}
	if r.hangs > 0 {
		r.hangs--
		delay = time.Hour
	}
	r.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-req.Context().Done():
		return
	}
	if status == 0 {
		status = http.StatusNoContent
	}
	if status == http.StatusFound {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(status)
}

func (r *receiver) set(change func(*receiver)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// refuse makes it answer 400 to bodies with the text in them.
func (r *receiver) refuse(text string) { r.set(func(r *receiver) { r.refuses = text }) }

// got returns the bodies that came since the last call.
func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.bodies
	r.bodies = nil
	return all
}

func (r *receiver) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	r.mu.Lock()
	down := r.down
	r.mu.Unlock()
	if down {
		return nil, &net.OpError{Op: "dial", Err: io.ErrUnexpectedEOF}
	}
	ours, theirs := net.Pipe()
	select {
	case r.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept, Close and Addr make it a listener.
func (r *receiver) Accept() (net.Conn, error) {
	conn, ok := <-r.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (*receiver) Close() error { return nil }

func (*receiver) Addr() net.Addr { return &net.TCPAddr{} }

// rig is a notifier that runs, and its receiver.
type rig struct {
	*hook.Notifier

	t    *testing.T
	to   *receiver
	log  *bytes.Buffer
	stop func()

	mu       sync.Mutex
	external netip.Addr // what the gateway says now; guarded by mu
}

// now sets the address that the gateway says, and tells nobody.
func (r *rig) now(address netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.external = address
}

// Address has the gateway say another address, of which the notifier is told.
func (r *rig) Address(before, now netip.Addr) {
	r.now(now)
	r.Notifier.Address(before, now)
}

// posting runs a test in virtual time with a notifier that posts.
func posting(t *testing.T, change func(*hook.Config), test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{conns: make(chan net.Conn)}
		server := &http.Server{Handler: to}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(to) })
		defer func() {
			close(to.conns)
			_ = server.Close()
			serving.Wait()
		}()

		var log bytes.Buffer
		r := &rig{t: t, to: to, log: &log, external: public}
		cfg := hook.Config{
			URL: "http://user:s3cret@receiver.lan/s3cret?token=s3cret", Instance: "default", Version: "v1", Dial: to.dial,
			External: func() (netip.Addr, bool) {
				r.mu.Lock()
				defer r.mu.Unlock()
				return r.external, r.external.IsValid()
			},
			Random: func() float64 { return 0 }, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		}
		if change != nil {
			change(&cfg)
		}
		n, err := hook.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Errorf("running: %v", err)
			}
		})
		r.Notifier = n
		r.stop = func() {
			cancel()
			running.Wait()
		}
		defer r.stop()
		test(r)
	})
}

// decode reads a body as a receiver would that knows the form.
func decode(t *testing.T, body string) hook.Event {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	var ev hook.Event
	if err := d.Decode(&ev); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return ev
}

// safeLog is a log that may be read while it is written.
type safeLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *safeLog) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
