//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"doublenat/routeros/routerostest"
)

// office is the router: a RouterOS for tests behind the API, and the kernel, which
// does what its tables say.
type office struct {
	*routerostest.Router

	ns     *namespace
	kernel kernel

	mu    sync.Mutex // guards what follows
	fault error      // why the kernel does not do what the rules say
}

// newOffice starts the router's API. Change has what is otherwise in its tables than by default.
func newOffice(ctx context.Context, t *testing.T, ns *namespace, change func(*routerostest.Router) error) *office {
	t.Helper()
	router, err := routerostest.New(routerostest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := change(router); err != nil {
		t.Fatal(err)
	}
	o := &office{Router: router, ns: ns, kernel: kernel{router: router, marks: make(map[string]int)}}
	if err := o.follow(ctx); err != nil {
		t.Fatal(err)
	}
	// The router's own addresses come after the marks (kernel_route_test.go).
	if err := ns.ip(ctx, "rule del pref 0"); err != nil {
		t.Fatal(err)
	}
	// The client hears of a change when the kernel has it.
	router.OnChange(func() {
		err := o.follow(ctx)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.fault = errors.Join(o.fault, err)
	})
	ln, err := ns.listenTCP(ctx, netip.MustParseAddrPort("0.0.0.0:8728"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- router.Serve(ctx, ln) }()
	t.Cleanup(func() {
		if err := errors.Join(router.Close(), <-served); err != nil {
			t.Errorf("router: %v", err)
		}
	})
	return o
}

// trouble returns why the kernel's NAT is not what the rules say, or nil.
func (o *office) trouble() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fault
}

// follow makes the kernel what the tables say, at once.
func (o *office) follow(ctx context.Context) error { return o.kernel.follow(ctx, o.ns) }

// rules returns how many rules doublenat has on the router.
func (o *office) rules() int {
	n := 0
	for _, row := range o.Rows(natPath) {
		if ours(row) {
			n++
		}
	}
	return n
}

// strangers returns everybody else's rules, in a form that shows every change.
func (o *office) strangers() string { return string(o.Fingerprint(natPath, ours)) }

// ours says whether doublenat made the rule.
func ours(row routerostest.Row) bool {
	return strings.HasPrefix(row["comment"], "doublenat:"+instance+" ")
}
