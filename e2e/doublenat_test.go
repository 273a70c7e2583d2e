//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	gonatpmp "github.com/jackpal/go-nat-pmp"

	"doublenat/routeros/routerostest"
)

// instance is the owner name in the comments of the rules.
const instance = "e2e"

// doublenat is the daemon under test: the real binary in a namespace of its own.
type doublenat struct {
	t       *testing.T
	ns      *namespace
	environ []string
	process *process // nil while it does not run
}

// newDoublenat makes a daemon that does not run yet. Extra has variables besides
// those that it needs.
func newDoublenat(t *testing.T, ns *namespace, router netip.Addr, extra map[string]string) *doublenat {
	t.Helper()
	environ := map[string]string{
		"VPN_GATEWAY":           "10.2.0.1",
		"MIKROTIK_API_ADDRESS":  router.String(),
		"MIKROTIK_API_USER":     routerostest.LeastUser,
		"MIKROTIK_API_PASSWORD": routerostest.LeastPassword,
		"INSTANCE":              instance,
		"LOG_LEVEL":             "DEBUG",
		"LOG_FORMAT":            "text",
	}
	maps.Copy(environ, extra)
	d := &doublenat{t: t, ns: ns}
	for name, value := range environ {
		d.environ = append(d.environ, name+"="+value)
	}
	return d
}

// start starts the daemon.
func (d *doublenat) start(ctx context.Context) {
	d.t.Helper()
	cmd := d.ns.command(ctx, doublenatPath)
	cmd.Env = d.environ
	d.process = startProcess(d.t, "doublenat", cmd)
}

// kill is SIGKILL: the daemon has no time for anything.
func (d *doublenat) kill() {
	d.process.kill()
	d.process = nil
}

// stop is SIGTERM, after which the daemon takes everything down.
func (d *doublenat) stop() error {
	if d.process == nil {
		return nil
	}
	err := d.process.stop(15 * time.Second)
	d.process = nil
	if err != nil {
		return fmt.Errorf("stopping doublenat: %w", err)
	}
	return nil
}

// ask calls a function with go-nat-pmp for a host, in the host's namespace.
func ask[T any](h *host, within time.Duration, request func(*gonatpmp.Client) (T, error)) (result T, err error) {
	err = h.enter(func() error {
		result, err = request(gonatpmp.NewClientWithTimeout(h.asks.AsSlice(), within))
		return err
	})
	return result, err
}

// externalAddress asks for the public address.
func (h *host) externalAddress() (netip.Addr, error) {
	reply, err := ask(h, patience, (*gonatpmp.Client).GetExternalAddress)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("asking for the public address: %w", err)
	}
	return netip.AddrFrom4(reply.ExternalIPAddress), nil
}

// mapping is what a host was granted.
type mapping struct {
	protocol string // "tcp" or "udp"
	internal uint16
	external uint16
	lifetime time.Duration
	took     time.Duration // how long the answer took
}

// request asks for a mapping or a renewal. External is the suggested port, 0 for any.
func (h *host) request(protocol string, internal, external uint16, lifetime time.Duration) (mapping, error) {
	began := time.Now()
	reply, err := ask(h, 12*time.Second, func(c *gonatpmp.Client) (*gonatpmp.AddPortMappingResult, error) {
		return c.AddPortMapping(protocol, int(internal), int(external), int(lifetime/time.Second))
	})
	if err != nil {
		return mapping{}, fmt.Errorf("asking for a mapping of %s %d: %w", protocol, internal, err)
	}
	if reply.InternalPort != internal {
		return mapping{}, fmt.Errorf("the answer is for port %d, want %d", reply.InternalPort, internal)
	}
	return mapping{
		protocol: protocol, internal: internal, external: reply.MappedExternalPort,
		lifetime: time.Duration(reply.PortMappingLifetimeInSeconds) * time.Second, took: time.Since(began),
	}, nil
}

// renew asks for a mapping once more.
func (h *host) renew(m mapping, lifetime time.Duration) (mapping, error) {
	return h.request(m.protocol, m.internal, m.external, lifetime)
}

// delete gives a mapping back.
func (h *host) delete(m mapping) error {
	got, err := h.request(m.protocol, m.internal, 0, 0)
	if err == nil && (got.external != 0 || got.lifetime != 0) {
		err = fmt.Errorf("the answer to a deletion has port %d and lifetime %v", got.external, got.lifetime)
	}
	return err
}

// errNever is a condition that did not come true in time.
var errNever = errors.New("not in time")

// eventually calls check again and again until it returns nil, or returns its
// last error.
func eventually(ctx context.Context, within time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w (%v): %w", errNever, within, err)
		}
	}
}

// pause waits, because the flow is about time.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
