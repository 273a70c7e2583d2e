//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
	"doublenat/internal/check"
	"doublenat/internal/config"
	"doublenat/natpmp"
	"doublenat/pcp"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	got := make(map[string]setting)
	for _, s := range settings(map[string]string{
		"VPN_GATEWAY": "10.2.0.1", "MIKROTIK_API_PASSWORD": "", "ON_CHANGE_URL": "http://u:hunter2@host/", "LEASE_POLICY": "",
		"ON_CHANGE_EXEC": "/bin/notify --token hunter2", "MIKROTIK_API_ADDRESS": "admin:hunter2@host",
	}) {
		got[s.Name] = s
	}
	for _, want := range []setting{
		{"VPN_GATEWAY", "10.2.0.1", "environment"},
		{"MIKROTIK_API_PASSWORD", ".....", "environment"}, // the empty password, which is one
		{"ON_CHANGE_URL", ".....", "environment"},
		{"ON_CHANGE_EXEC", "/bin/notify and 2 arguments", "environment"},
		{"MIKROTIK_API_ADDRESS", ".....@host", "environment"},
		{"LEASE_POLICY", "auto", "default"},
		{"DENIED_CLIENTS", "", "none"},
	} {
		if diff := cmp.Diff(want, got[want.Name]); diff != "" {
			t.Error(diff)
		}
	}
	if len(got) != len(config.Reference()) {
		t.Errorf("%d settings of %d", len(got), len(config.Reference()))
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	gateway := netip.MustParseAddrPort("192.168.88.1:5351")
	other := errors.New("other")
	for want, tt := range map[string]struct {
		by  language
		err error
	}{
		"may not map this port":         {inNATPMP, &natpmp.ResultError{Result: natpmp.ResultNotAuthorized}},
		"doublenat check say":           {inNATPMP, &natpmp.ResultError{Result: natpmp.ResultNetworkFailure}},
		"no port is left":               {inNATPMP, &natpmp.ResultError{Result: natpmp.ResultOutOfResources}},
		"may not speak NAT-PMP":         {inNATPMP, &natpmp.ResultError{Result: natpmp.ResultUnsupportedVersion}},
		"nobody answers NAT-PMP":        {inNATPMP, &natpmp.RefusedError{}},
		"nobody answers PCP":            {inPCP, &natpmp.RefusedError{}},
		"did not answer 7 packets":      {inNATPMP, &natpmp.TimeoutError{Tries: 7, Err: context.DeadlineExceeded}},
		"did not answer 7 searches":     {inUPnP, &natpmp.TimeoutError{Tries: 7, Err: context.DeadlineExceeded}},
		"interrupted":                   {inNATPMP, &natpmp.TimeoutError{Tries: 7, Err: context.Canceled}},
		"other":                         {inNATPMP, other},
		"192.168.88.1:5351 answered: ":  {inNATPMP, &natpmp.ResultError{Result: natpmp.ResultOutOfResources}},
		"a nonce of its own":            {inPCP, &pcp.ResultError{Result: pcp.ResultNotAuthorized}},
		"replaces this host's address":  {inPCP, &pcp.ResultError{Result: pcp.ResultAddressMismatch}},
		"as many mappings as it may":    {inPCP, &pcp.ResultError{Result: pcp.ResultUserExceededQuota}},
		"does not speak PCP; set":       {inPCP, &pcp.VersionError{}},
		"look at its log":               {inPCP, &pcp.ResultError{Result: pcp.ResultMalformedOption}},
		"chooses ports itself":          {inUPnP, &igd.ActionError{Code: igd.CodeConflict}},
		"answered: ActionFailed; look ": {inUPnP, &igd.ActionError{Code: igd.CodeActionFailed}},
	} {
		if got := (&client{gateway: gateway, by: tt.by}).explain(tt.err); !strings.Contains(got.Error(), want) {
			t.Errorf("%v is not %q", got, want)
		}
	}
	if (&client{gateway: gateway}).explain(nil) != nil {
		t.Error("no error became one")
	}
}

func TestFindPrinterInColor(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := &findingPrinter{w: &b, color: true}
	for _, l := range []check.Level{check.OK, check.Warn, check.Fail} {
		p.print(check.Finding{Level: l, Probe: "probe", Seen: "seen"})
	}
	for _, want := range []string{"\x1b[32mok  \x1b[0m", "\x1b[33mwarn\x1b[0m", "\x1b[31mfail\x1b[0m"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in %q", want, b.String())
		}
	}
	broken := &findingPrinter{w: brokenWriter{}}
	broken.print(check.Finding{})
	if !errors.Is(broken.err, errBroken) {
		t.Errorf("got error %v", broken.err)
	}
}

var errBroken = errors.New("broken")

// brokenWriter is a pipe whose reader is gone.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// TestLiveFromOutside tries the two ways in, on a server of ours.
func TestLiveFromOutside(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello\n")
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-ended })
	public := netip.MustParseAddrPort(ln.Addr().String())

	from, err := fromAddress("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := from(t.Context(), public); err != nil {
		t.Error(err)
	}
	if err := from(t.Context(), netip.MustParseAddrPort("127.0.0.1:1")); err == nil {
		t.Error("a closed port was reached")
	}

	asked := make(chan string, 2)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.String()
		if strings.HasPrefix(r.URL.Path, "/no") {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(echo.Close)
	by, err := byServer(echo.URL + "/port/{port}?ip={address}")
	if err != nil {
		t.Fatal(err)
	}
	if err := by(t.Context(), public); err != nil {
		t.Error(err)
	}
	if got, want := <-asked, "/port/"+strconv.Itoa(int(public.Port()))+"?ip=127.0.0.1"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	by, err = byServer(echo.URL + "/no")
	if err != nil {
		t.Fatal(err)
	}
	if err := by(t.Context(), public); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got error %v", err)
	}
}

func TestSelfAddresses(t *testing.T) {
	t.Parallel()
	cfg := config.Config{Router: config.Endpoint{Host: "192.168.88.1"}, Listen: netip.MustParseAddrPort("172.30.254.2:5351")}
	if diff := cmp.Diff("[172.30.254.2]", addrs(selfAddresses(cfg))); diff != "" {
		t.Error(diff)
	}
	cfg.Listen = netip.MustParseAddrPort("0.0.0.0:5351")
	for _, a := range selfAddresses(cfg) {
		if a.IsLoopback() || !a.Is4() {
			t.Errorf("%v is no address at which a router reaches this host", a)
		}
	}
	cfg.Router.Host = "127.0.0.1"
	if got := selfAddresses(cfg); got != nil {
		t.Errorf("a router on this host: got %v", got)
	}
}

// addrs prints addresses.
func addrs(list []netip.Addr) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, a.String())
	}
	return "[" + strings.Join(texts, " ") + "]"
}

// logLines is a log that hands over each line.
type logLines chan string

func (l logLines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// TestSwitchLevel sends the signal to the test process itself.
func TestSwitchLevel(t *testing.T) {
	t.Parallel()
	lines := make(logLines, 8)
	level := new(slog.LevelVar)
	log := slog.New(slog.NewTextHandler(lines, &slog.HandlerOptions{Level: level}))
	stop := switchLevel(t.Context(), log, level)
	for _, want := range []string{"level=DEBUG", "level=INFO", "level=DEBUG"} {
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if err := self.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-lines:
			if !strings.Contains(got, `msg="log level switched" `+want) {
				t.Errorf("got %s, want %s", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the signal does nothing")
		}
	}
	stop()
	if level.Level() != slog.LevelDebug {
		t.Errorf("level %v after three signals", level.Level())
	}
}
