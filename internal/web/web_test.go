package web_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doublenat/internal/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// A request in work is answered at the end, and one that does not end is cut.
func TestServe(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		goodbye  time.Duration
		hangs    bool
		answered bool
	}{
		"in work": {goodbye: time.Minute, answered: true},
		"hangs":   {goodbye: time.Millisecond, hangs: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithCancel(t.Context())
			begun, release := make(chan struct{}), make(chan struct{})
			server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(begun)
				<-release
				_, _ = io.WriteString(w, "done") // the client may be gone
			})}
			ln, ended := listen(t), make(chan error, 1)
			go func() { ended <- web.Serve(ctx, server, ln, tt.goodbye) }()
			answers := make(chan error, 1)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			go func() {
				req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, "http://"+ln.Addr().String(), http.NoBody)
				if err == nil {
					var resp *http.Response
					if resp, err = client.Do(req); err == nil {
						_, err = io.ReadAll(resp.Body)
						_ = resp.Body.Close() // it was read
					}
				}
				answers <- err
			}()
			<-begun
			stop()
			if !tt.hangs {
				close(release)
			}
			if err := <-ended; err != nil {
				t.Errorf("ended with %v", err)
			}
			if err := <-answers; (err == nil) != tt.answered {
				t.Errorf("answered: %v", err)
			}
			if tt.hangs {
				close(release)
			}
		})
	}
}

// A listener that dies is an error, and nothing waits for the context.
func TestServeOnADeadListener(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	_ = ln.Close() // that is what is wrong
	if err := web.Serve(t.Context(), &http.Server{ReadHeaderTimeout: time.Minute}, ln, time.Minute); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
}
