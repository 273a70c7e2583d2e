package router_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/router"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

const natPath = "/ip/firewall/nat"

// rig is a Router on a router for tests, inside a synctest bubble.
type rig struct {
	*router.Router
	box  *routerostest.Router
	log  *lockedBuffer
	stop func() // ends Run and waits for it
}

// lockedBuffer is a buffer for a logger that several goroutines use.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns what was written.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lines returns the lines that have the text in them.
func (b *lockedBuffer) lines(text string) []string {
	var found []string
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// newRig builds a router of the given version and starts a Router on it, whose
// configuration the changes may change. Everything ends with the test.
func newRig(t *testing.T, box routerostest.Config, changes ...func(*router.Config)) *rig {
	t.Helper()
	emulator, err := routerostest.New(box)
	if err != nil {
		t.Fatal(err)
	}
	return rigOn(t, emulator, changes...)
}

// rigOn is newRig for a router that was built before.
func rigOn(t *testing.T, emulator *routerostest.Router, changes ...func(*router.Config)) *rig {
	t.Helper()
	r := &rig{box: emulator, log: new(lockedBuffer)}
	cfg := router.Config{
		API: routeros.Config{
			Dial:     emulator.Dial,
			User:     routerostest.LeastUser,
			Password: routeros.NewSecret(routerostest.LeastPassword),
		},
		Instance: "default",
		Gateway:  netip.MustParseAddr(routerostest.GatewayAddress),
		Logger:   slog.New(slog.NewTextHandler(r.log, nil)),
	}
	for _, change := range changes {
		change(&cfg)
	}
	var err error
	if r.Router, err = router.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := emulator.Close(); err != nil {
			t.Errorf("closing the router for tests: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// settled waits until the router can be used.
func (r *rig) settled(t *testing.T) *rig {
	t.Helper()
	if _, err := r.Rules(t.Context()); err != nil {
		t.Fatalf("router does not come into use: %v", err)
	}
	return r
}

// wanted returns a rule for the port of a client; other ports differ by client and port.
func wanted(client string, port uint16) nat.Rule {
	return nat.Rule{
		Key:          nat.Key{Client: netip.MustParseAddr(client), Protocol: nat.TCP, InternalPort: port},
		InnerPort:    20000 + port%1000,
		ExternalPort: 40000 + port%1000,
		Lifetime:     time.Hour,
		Match:        nat.MatchPorts{20000 + port%1000, 0},
	}
}

// add makes a rule and fails the test if that does not work.
func (r *rig) add(t *testing.T, want nat.Rule) nat.Rule {
	t.Helper()
	made, err := r.AddRule(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// rules returns our rules on the router.
func (r *rig) rules(t *testing.T) []nat.Rule {
	t.Helper()
	s, err := r.Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Rules
}

// commands returns the NAT commands since the mark, without their path.
func (r *rig) commands(mark routerostest.Mark) []string {
	var list []string
	for _, e := range r.box.Since(mark) {
		list = append(list, strings.TrimPrefix(e.Command, natPath+"/"))
	}
	return list
}

// foreign returns the rows of others as they are, for comparison.
func (r *rig) foreign() string {
	return string(r.box.Fingerprint(natPath, func(row routerostest.Row) bool {
		return strings.HasPrefix(row["comment"], "doublenat:default ")
	}))
}

// natError fails the test unless err is a nat.Error of the router, which it returns.
func natError(t *testing.T, err error) *nat.Error {
	t.Helper()
	e, ok := errors.AsType[*nat.Error](err)
	if !ok || e.Hop != nat.HopRouter {
		t.Fatalf("got error %v (%T), want a nat.Error of the router", err, err)
	}
	return e
}
