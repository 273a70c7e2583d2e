//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// lineLifetime is how long mappings of atTheLine live, see byKind.
const lineLifetime = time.Minute

// tenants are the programs of a LAN behind a provider's box: natpmpc on alice, which asks
// when it is told to, and libtorrent on bob, which keeps its mappings itself.
type tenants struct {
	w        *world
	mapped   []mapping // alice's, TCP and UDP
	torrent  *torrent
	tcp, udp uint16 // libtorrent's external ports
	since    time.Time
}

// atTheLine is a life behind a provider's box that is asked in one way alone: programs
// map and are reached, doublenat is killed, the box restarts, mappings are renewed until
// they are older than their lifetime, and one that nobody renews ends.
func atTheLine(way string) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		all, err := moveIn(ctx, w)
		if err != nil {
			return err
		}
		for _, part := range []func(context.Context) error{
			all.outliveKill, all.outliveBox, all.outliveLifetime, all.moveOut,
			func(ctx context.Context) error { return w.askedBy(ctx, way) },
		} {
			if err := part(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// moveIn starts the programs, and reaches each.
func moveIn(ctx context.Context, w *world) (*tenants, error) {
	all := &tenants{w: w}
	for _, protocol := range []string{"tcp", "udp"} {
		w.alice.serve(ctx, w.t, protocol, 8080)
		m, err := natpmpc(ctx, w.alice, protocol, 8080, anHour)
		if err != nil {
			return nil, err
		}
		if err := w.reach(ctx, m, w.alice); err != nil {
			return nil, err
		}
		if m.lifetime > lineLifetime {
			return nil, fmt.Errorf("granted %v, want at most %v", m.lifetime, lineLifetime)
		}
		all.mapped = append(all.mapped, m)
	}
	// Nobody renews this one.
	if _, err := natpmpc(ctx, w.alice, "tcp", 9090, anHour); err != nil {
		return nil, err
	}
	var err error
	if all.torrent, err = startTorrent(ctx, w, w.bob, 6881); err != nil {
		return nil, err
	}
	if all.tcp, all.udp, err = all.torrent.mapped(ctx); err != nil {
		return nil, err
	}
	all.since = time.Now()
	if report, err := w.doublenat.check(ctx); err != nil {
		return nil, fmt.Errorf("check: %w:\n%s", err, report)
	}
	return all, errors.Join(all.reached(ctx), w.layers(ctx, 5))
}

// reached says something to each program, over TCP and UDP.
func (all *tenants) reached(ctx context.Context) error {
	var errs []error
	for _, m := range all.mapped {
		errs = append(errs, all.w.reach(ctx, m, all.w.alice))
	}
	return errors.Join(append(errs, all.torrent.meet(ctx, all.w, all.tcp, all.udp))...)
}

// renew has alice renew all that she has, with the same ports.
func (all *tenants) renew(ctx context.Context) error {
	for _, m := range all.mapped {
		again, err := natpmpc(ctx, all.w.alice, m.protocol, m.internal, anHour)
		if err != nil {
			return err
		}
		if again.external != m.external {
			return fmt.Errorf("the renewal moved %s %d to %d", m.protocol, m.external, again.external)
		}
	}
	return nil
}

// outliveBox takes the power from the box, which forgets everything. All is back, on the
// same ports, also for those who do not ask.
func (all *tenants) outliveBox(ctx context.Context) error {
	// The box has to be older than what RFC 6886 §3.6 allows clocks to differ.
	pause(ctx, 8*time.Second)
	if err := errors.Join(all.renew(ctx), all.w.gateway.restart(ctx)); err != nil {
		return err
	}
	began := time.Now()
	// A box with UPnP is looked at once a minute.
	err := eventually(ctx, 65*time.Second, func() error { return all.reached(ctx) })
	all.w.t.Logf("%v after the box's restart all are reached again", time.Since(began).Round(time.Second))
	return err
}

// outliveKill kills doublenat and starts it again.
func (all *tenants) outliveKill(ctx context.Context) error {
	if err := all.renew(ctx); err != nil {
		return err
	}
	all.w.doublenat.kill()
	if err := all.reached(ctx); err != nil {
		return fmt.Errorf("while doublenat is dead: %w", err)
	}
	return errors.Join(all.w.open(ctx), all.renew(ctx), all.reached(ctx))
}

// outliveLifetime waits until libtorrent's mappings are older than their lifetime, and
// until that one which nobody renewed has ended.
func (all *tenants) outliveLifetime(ctx context.Context) error {
	pause(ctx, time.Until(all.since.Add(lineLifetime+5*time.Second)))
	if err := errors.Join(all.renew(ctx), all.reached(ctx)); err != nil {
		return err
	}
	began := time.Now()
	err := eventually(ctx, lineLifetime, func() error { return all.w.layers(ctx, 4) })
	all.w.t.Logf("the mapping that nobody renewed ended after %v more", time.Since(began).Round(time.Second))
	return err
}

// moveOut has libtorrent end, which gives its mappings back, and alice give back one of
// hers. The other one is left to the end of doublenat.
func (all *tenants) moveOut(ctx context.Context) error {
	if err := all.torrent.quit(ctx); err != nil {
		return err
	}
	if err := all.w.alice.delete(all.mapped[0]); err != nil {
		return err
	}
	return eventually(ctx, patience, func() error {
		return errors.Join(all.w.layers(ctx, 1), all.w.internet.unreachable(ctx, "tcp", all.w.public(all.mapped[0])))
	})
}

// guest brings one more host into the LAN.
func (w *world) guest(ctx context.Context, name, addr string) (*host, error) {
	living := context.WithoutCancel(ctx) // until the cleanup
	h := &host{namespace: namespaceFor(living, w.t, strings.TrimSuffix(w.alice.name, "-alice"), name), addr: netip.MustParseAddr(addr), asks: w.alice.asks}
	return h, errors.Join(
		w.router.ip(ctx, "link add lan9 type veth peer name eth0 netns "+h.name, "link set lan9 master bridge up"),
		h.ip(ctx, "address add "+addr+"/24 dev eth0", "link set eth0 up", "route add default via 192.168.88.1"))
}

// fromAPool has two ports for three hosts: two get one each, for both protocols, and keep
// it when doublenat is killed. The third is refused until there is one.
func fromAPool(ctx context.Context, w *world) error {
	carol, err := w.guest(ctx, "carol", "192.168.88.12")
	if err != nil {
		return err
	}
	var granted []mapping
	hosts := []*host{w.alice, w.alice, w.bob, w.bob}
	for i, h := range hosts {
		protocol := []string{"tcp", "udp"}[i%2]
		h.serve(ctx, w.t, protocol, 8080)
		m, err := natpmpc(ctx, h, protocol, 8080, anHour)
		if err != nil {
			return err
		}
		if err := w.reach(ctx, m, h); err != nil {
			return err
		}
		granted = append(granted, m)
	}
	if granted[0].external != granted[1].external || granted[2].external != granted[3].external {
		return fmt.Errorf("TCP and UDP have different ports: %+v", granted)
	}
	stand := func() error {
		errs := []error{w.refused(ctx, carol)}
		for i, h := range hosts {
			errs = append(errs, w.reach(ctx, granted[i], h))
		}
		return errors.Join(errs...)
	}
	if err := stand(); err != nil {
		return err
	}
	if report, err := w.doublenat.check(ctx); err != nil {
		return fmt.Errorf("check: %w:\n%s", err, report)
	}
	w.doublenat.kill()
	if err := w.open(ctx); err != nil {
		return err
	}
	for i, h := range hosts {
		again, err := h.renew(granted[i], anHour)
		if err != nil {
			return err
		}
		if again.external != granted[i].external {
			return fmt.Errorf("the restart moved port %d to %d", granted[i].external, again.external)
		}
	}
	if err := stand(); err != nil {
		return err
	}
	return w.inherit(ctx, carol, granted[2:])
}

// refused returns nil if a host gets no port, because there is none.
func (w *world) refused(ctx context.Context, h *host) error {
	said, err := output(h.command(ctx, "natpmpc", "-a", "0", "8080", "tcp", "3600"))
	switch {
	case err == nil:
		return fmt.Errorf("%s got a port: %s", h.name, said)
	case !strings.Contains(said, "out of resources"):
		return fmt.Errorf("%s is not told that there is no port: %w", h.name, err)
	default:
		return nil
	}
}

// inherit gives bob's port to carol.
func (w *world) inherit(ctx context.Context, carol *host, bobs []mapping) error {
	for _, m := range bobs {
		if err := errors.Join(w.bob.delete(m), w.internet.unreachable(ctx, m.protocol, w.public(m))); err != nil {
			return err
		}
	}
	carol.serve(ctx, w.t, "tcp", 8080)
	m, err := natpmpc(ctx, carol, "tcp", 8080, anHour)
	if err != nil {
		return err
	}
	if m.external != bobs[0].external {
		return fmt.Errorf("carol has port %d, want %d", m.external, bobs[0].external)
	}
	err = w.reach(ctx, m, carol)
	if rules := w.office.rules(); err == nil && rules != 3 {
		err = fmt.Errorf("%d rules, want 3", rules)
	}
	return err
}
