package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"doublenat/internal/ops"
	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
)

// The secrets of the tests: nothing else has such texts in it.
const (
	secretPassword = "pA55-w0rd-0f-the-r0uter"
	secretToken    = "t0ken-0f-the-h00k"
)

// output takes in everything that a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String returns what was written so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// leaks returns in which form a secret is in a text.
func leaks(text string) []string {
	var found []string
	for _, secret := range []string{secretPassword, secretToken} {
		for form, coded := range map[string]string{
			"plain": secret, "hex": hex.EncodeToString([]byte(secret)), "base64": base64.StdEncoding.EncodeToString([]byte(secret))[:16],
			"bytes": strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]"),
		} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(coded)) {
				found = append(found, secret+" as "+form)
			}
		}
	}
	return found
}

// secretRouter runs a RouterOS for tests on loopback, whose user has the password.
func secretRouter(t *testing.T, password string) string {
	t.Helper()
	_, at := newRouterAt(t, password)
	return at
}

// newRouterAt runs one and returns it with its address.
func newRouterAt(t *testing.T, password string) (box *routerostest.Router, at string) {
	t.Helper()
	box, err := routerostest.New(routerostest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.AddUser("keeper", password, "read,write,api,test"); err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- box.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	return box, ln.Addr().String()
}

// secretive returns an environment with secrets in all their places, at DEBUG.
func secretive(t *testing.T, router string) map[string]string {
	t.Helper()
	environ, socket := nowhere(t)
	environ["LISTEN_ADDR"] = socket.LocalAddr().String()
	if err := socket.Close(); err != nil {
		t.Fatal(err)
	}
	environ["MIKROTIK_API_ADDRESS"] = router
	environ["MIKROTIK_API_USER"] = "keeper"
	environ["MIKROTIK_API_PASSWORD"] = secretPassword
	environ["MIKROTIK_IN_INTERFACE"] = routerostest.TunnelInterface
	environ["ON_CHANGE_URL"] = "http://user:" + secretToken + "@127.0.0.1:1/"
	environ["ON_CHANGE_EXEC"] = "/no/such/program --token " + secretToken
	environ["LOG_LEVEL"] = "DEBUG"
	return environ
}

// TestNoSecretIsWritten runs the daemon at DEBUG against a router that refuses the
// login and one that does not, asks it for things, reads all that it shows, and
// looks for the secrets.
func TestNoSecretIsWritten(t *testing.T) {
	t.Parallel()
	for name, password := range map[string]string{"login fails": "another", "login works": secretPassword} {
		for _, format := range []string{"text", "json"} {
			t.Run(name+" "+format, func(t *testing.T) {
				t.Parallel()
				environ := secretive(t, secretRouter(t, password))
				environ["LOG_FORMAT"] = format
				environ["HTTP_ADDR"] = environ["LISTEN_ADDR"] // the same port, over TCP
				if password == secretPassword {
					delete(environ, "MIKROTIK_API_PASSWORD")
					environ["CREDENTIALS_DIRECTORY"] = t.TempDir()
					file := filepath.Join(environ["CREDENTIALS_DIRECTORY"], "router-password")
					if err := os.WriteFile(file, []byte(secretPassword+"\n"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want := "login as"
				if password == secretPassword {
					want = "router connected"
				}
				written, shown := serveSecretly(t, environ, want)
				if found := leaks(written + shown); found != nil {
					t.Errorf("%v in:\n%s\n%s", found, written, shown)
				}
				if !strings.Contains(shown, "doublenat") || !strings.Contains(written, want) || !strings.Contains(written, ".....") {
					t.Errorf("want %q, dots, and pages; got:\n%s\n%s", want, written, shown)
				}
			})
		}
	}
}

// serveSecretly runs the daemon until its log has the text, and returns what it
// wrote, and what its pages showed.
func serveSecretly(t *testing.T, environ map[string]string, until string) (written, shown string) {
	t.Helper()
	var out output
	p := &process{environ: environ, stdout: &out, stderr: &out, daemon: runDaemon}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan int, 1)
	go func() {
		ended <- p.run(ctx, []string{"serve"})
	}()
	listen := netip.MustParseAddrPort(environ["LISTEN_ADDR"])
	client, err := net.Dial("udp4", listen.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	converse(t, client, natpmp.Request{}, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 80, Lifetime: 60},
		natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 80})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for tries := 0; tries < 1000 && !strings.Contains(out.String(), until); tries++ {
		<-tick.C
	}
	var pages strings.Builder
	for _, path := range []string{"/", ops.PathHealth, ops.PathReady, ops.PathMetrics, ops.PathStatus, ops.PathEvents, ops.PathText} {
		pages.WriteString(page(t, "http://"+environ["HTTP_ADDR"]+path))
	}
	cancel()
	// Whether a lease may stand that cannot be given back depends on who was faster.
	if code := <-ended; code != exitOK && !strings.Contains(out.String(), "leases not released") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	return out.String(), pages.String()
}

// converse sends requests as soon as the daemon listens, and gives it a second for the answers:
// what they are does not matter here.
func converse(t *testing.T, client net.Conn, requests ...natpmp.Request) {
	t.Helper()
	hears := func() bool {
		_, _ = client.Write(requests[0].Append(nil))
		if err := client.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err := client.Read(make([]byte, 64))
		return !errors.Is(err, syscall.ECONNREFUSED)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !hears(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("the daemon does not listen")
		}
	}
	for _, req := range requests {
		_, _ = client.Write(req.Append(nil))
	}
	if err := client.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for range requests {
		if _, err := client.Read(make([]byte, 64)); err != nil {
			return
		}
	}
}

// page returns what a page shows, in at most a second.
func page(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body) // an endless one ends with its second
	return string(body)
}

// TestNoCommandWritesASecret runs every command with a configuration full of
// secrets, in each of its forms.
func TestNoCommandWritesASecret(t *testing.T) {
	t.Parallel()
	router := secretRouter(t, secretPassword)
	root := newRoot(t.Context(), &process{})
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		for _, sub := range c.Commands() {
			walk(sub, append(append([]string(nil), path...), sub.Name()))
		}
		if !c.Runnable() || c.Name() == "lab" { // which has secrets of its own
			return
		}
		forms := [][]string{path, append(append([]string(nil), path...), "--help")}
		if c.Flags().Lookup("json") != nil {
			forms = append(forms, append(append([]string(nil), path...), "--json"))
		}
		for _, args := range forms {
			t.Run(strings.Join(args, " "), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				var out output
				p := &process{environ: secretive(t, router), stdin: strings.NewReader(""), stdout: &out, stderr: &out, daemon: runDaemon}
				code := p.run(ctx, args)
				if found := leaks(out.String()); found != nil {
					t.Errorf("%v in the output of %v, which ended with %d:\n%s", found, args, code, out.String())
				}
				if out.String() == "" {
					t.Error("nothing was written: this test looked at nothing")
				}
			})
		}
	}
	walk(root, nil)
}
