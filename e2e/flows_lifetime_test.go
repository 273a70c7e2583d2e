//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// renewalKeepsOpen renews a mapping until it is much older than its lifetime.
func renewalKeepsOpen(ctx context.Context, w *world) error {
	const lifetime = 3 * time.Second
	w.alice.serve(ctx, w.t, "tcp", 8080)
	m, err := w.alice.request("tcp", 8080, 0, lifetime)
	if err != nil {
		return err
	}
	if m.lifetime <= 0 || m.lifetime > lifetime {
		return fmt.Errorf("granted %v, want at most %v", m.lifetime, lifetime)
	}
	made := w.office.Mark()
	for range 5 {
		if err := w.reach(ctx, m, w.alice); err != nil {
			return err
		}
		pause(ctx, lifetime/2)
		again, err := w.alice.renew(m, lifetime)
		if err != nil {
			return err
		}
		if again.external != m.external {
			return fmt.Errorf("the renewal moved port %d to %d", m.external, again.external)
		}
	}
	if writes := w.office.StatsSince(made).Writes; writes != 0 {
		return fmt.Errorf("the renewals wrote to the router %d times", writes)
	}
	return w.reach(ctx, m, w.alice)
}

// deletionCloses deletes a mapping.
func deletionCloses(ctx context.Context, w *world) error {
	for _, protocol := range []string{"tcp", "udp"} {
		w.alice.serve(ctx, w.t, protocol, 8080)
		m, err := w.alice.request(protocol, 8080, 0, anHour)
		if err != nil {
			return err
		}
		if err := w.reach(ctx, m, w.alice); err != nil {
			return err
		}
		if err := w.alice.delete(m); err != nil {
			return err
		}
		if err := errors.Join(w.internet.unreachable(ctx, protocol, w.public(m)), w.layers(ctx, 0)); err != nil {
			return err
		}
	}
	return nil
}

// expiringLifetime is how long the mapping lives that expiryCloses waits for.
const expiringLifetime = 6 * time.Second

// expiryCloses waits until a mapping that is not renewed has ended. It has to be
// open as long as was promised, to the second in which gateways count.
func expiryCloses(ctx context.Context, w *world) error {
	w.alice.serve(ctx, w.t, "tcp", 8080)
	m, err := w.alice.request("tcp", 8080, 0, expiringLifetime)
	if err != nil {
		return err
	}
	ends := time.Now().Add(m.lifetime)
	if m.lifetime < expiringLifetime-time.Second || m.lifetime > expiringLifetime {
		return fmt.Errorf("granted %v, want %v", m.lifetime, expiringLifetime)
	}
	if err := w.reach(ctx, m, w.alice); err != nil {
		return err
	}
	pause(ctx, time.Until(ends)-1500*time.Millisecond)
	if err := w.reach(ctx, m, w.alice); err != nil {
		return err
	}
	return eventually(ctx, time.Until(ends)+3*time.Second, func() error {
		return errors.Join(w.internet.unreachable(ctx, "tcp", w.public(m)), w.layers(ctx, 0))
	})
}
