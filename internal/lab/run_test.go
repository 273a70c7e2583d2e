package lab_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// screen is a writer that a test can wait on.
type screen struct {
	changed chan struct{}

	mu   sync.Mutex // guards what follows
	text bytes.Buffer
}

func newScreen() *screen { return &screen{changed: make(chan struct{}, 1)} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// wait waits until the text has appeared.
func (s *screen) wait(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(s.String(), text) {
		select {
		case <-s.changed:
		case <-ctx.Done():
			t.Fatalf("%q does not appear in\n%s", text, s.String())
		}
	}
}

// TestRunInterrupted ends the lab while its client waits for the first answer: that
// somebody changed their mind is no failure.
func TestRunInterrupted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
	defer interrupt()
	deaf := func(ctx context.Context, o daemon.Options) error {
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(o.Config.Listen))
		if err != nil {
			return err
		}
		defer conn.Close()
		<-ctx.Done()
		return nil
	}
	out := newScreen()
	l, err := lab.New(lab.Options{Daemon: deaf, Out: out, Places: places(t)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	out.wait(ctx, t, "The client asks for the public address")
	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("%v; printed:\n%s", err, out)
	}
	if text := out.String(); !strings.Contains(text, "interrupted") || strings.Contains(text, "✗") {
		t.Errorf("the interruption looks like a failure:\n%s", text)
	}
}

// launch lets the lab run. Stop interrupts it, and fails the test if it did not end well.
func launch(ctx context.Context, t *testing.T, l *lab.Lab, out *screen) (stop func()) {
	t.Helper()
	ctx, interrupt := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	return func() {
		t.Helper()
		interrupt()
		if err := <-ended; err != nil {
			t.Errorf("%v; printed:\n%s", err, out)
		}
	}
}

// TestRun lets the lab run, asks it for a port as a visitor with natpmpc would,
// waits for a renewal, and ends it.
func TestRun(t *testing.T) {
	t.Parallel()
	out, p := newScreen(), places(t)
	l, err := lab.New(lab.Options{Daemon: (&careless{}).run, Out: out, Color: true, Places: p, Languages: lab.NATPMPAlone})
	if err != nil {
		t.Fatal(err)
	}
	var gateway *natpmptest.Gateway
	l.Meddle(func(g *natpmptest.Gateway, _ *routerostest.Router) {
		gateway = g
		gateway.Adjust(func(p *natpmptest.Profile) { p.Lifetime = 2 * time.Second }) // renewed after one
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stop := launch(ctx, t, l, out)
	defer func() {
		stop()
		for _, want := range []string{"The client gives its web port back", "no lease and no rule is left", "refuses over UDP too"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
	}()

	out.wait(ctx, t, "http://"+p.Page.String()+"/ in a browser")
	out.wait(ctx, t, "natpmpc -g "+p.Listen.Addr().String()+" -a 0 9000 tcp 60")
	visitor, err := natpmp.NewClient(natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", p.Listen.String())
	}})
	if err != nil {
		t.Fatal(err)
	}
	var visiting sync.WaitGroup
	defer visiting.Wait()
	visitCtx, leave := context.WithCancel(ctx)
	defer leave()
	visiting.Go(func() { _ = visitor.Run(visitCtx) })
	if _, err := visitor.Map(ctx, natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: 9000, Lifetime: 60}); err != nil {
		t.Fatal(err)
	}
	out.wait(ctx, t, "→ 127.0.0.1:9000")
	fetch(ctx, t, out.String())
	out.wait(ctx, t, "came in on tcp")
	out.wait(ctx, t, "the client renews")
	gateway.Adjust(func(p *natpmptest.Profile) { p.Result = natpmp.ResultOutOfResources })
	out.wait(ctx, t, "could not be renewed; the client will try again")
	gateway.Adjust(func(p *natpmptest.Profile) { p.Result = natpmp.ResultSuccess })
	if err := visitor.Unmap(ctx, natpmp.OpMapTCP, 9000); err != nil {
		t.Fatal(err)
	}
	out.wait(ctx, t, "  - tcp ")
}

// fetch gets the page at the address that the lab invites to.
func fetch(ctx context.Context, t *testing.T, invitation string) {
	t.Helper()
	_, after, _ := strings.Cut(invitation, "curl ")
	address, _, _ := strings.Cut(after, "\n")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", address, response.Status)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := func() lab.Options {
		return lab.Options{Daemon: (&careless{}).run, Out: newScreen(), Places: lab.SharedPlaces()}
	}
	if _, err := lab.New(good()); err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(*lab.Options){
		"needs a daemon":     func(o *lab.Options) { o.Daemon = nil },
		"somewhere to write": func(o *lab.Options) { o.Out = nil },
		`profile "cisco"`:    func(o *lab.Options) { o.Profile = "cisco" },
		"leave --profile out, or take one of rfc, miniupnpd": func(o *lab.Options) { o.Kind, o.Profile = "pcp", "proton" },
		"leave --profile out":                                func(o *lab.Options) { o.Kind, o.Profile = "pool", "rfc" },
		`gateway "dslite"; allowed: natpmp, pcp, igd, pool`:  func(o *lab.Options) { o.Kind = "dslite" },
		"more than one loopback address":                     func(o *lab.Options) { o.Kind = "igd" },
		"not in 127.0.0.0/8":                                 func(o *lab.Options) { o.Places.Public = publicOne },
		"router has no port":                                 func(o *lab.Options) { o.Places.Router = portless },
		"page has no port":                                   func(o *lab.Options) { o.Places.Page = portless },
		"patience is negative":                               func(o *lab.Options) { o.Patience = -1 },
	}
	for want, spoil := range tests {
		o := good()
		spoil(&o)
		if _, err := lab.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
