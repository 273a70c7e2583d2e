//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"doublenat/routeros/routerostest"
)

// killed ends doublenat without a warning.
func killed(w *world) error {
	w.doublenat.kill()
	return nil
}

// upgraded ends doublenat in good order, when it is told to leave everything to the
// next one, which is told to clean up.
func upgraded(w *world) error {
	err := w.doublenat.stop()
	w.doublenat.environ = append(w.doublenat.environ, "SHUTDOWN=clean")
	return err
}

// restartKeepsConnection ends doublenat while a connection through both NATs is
// open, and starts it again. The connection and the port live on all the time,
// and the new doublenat knows the mapping.
func restartKeepsConnection(end func(*world) error) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error { return keepConnection(ctx, w, end) }
}

// keepConnection is the story of restartKeepsConnection.
func keepConnection(ctx context.Context, w *world, end func(*world) error) error {
	w.alice.serve(ctx, w.t, "tcp", 8080)
	m, err := w.alice.request("tcp", 8080, 0, anHour)
	if err != nil {
		return err
	}
	if err := w.reach(ctx, m, w.alice); err != nil {
		return err
	}
	t, err := w.internet.call(ctx, "tcp", w.public(m), w.alice)
	if err != nil {
		return err
	}
	defer t.Close()
	before := w.office.Mark()
	if err := t.say(); err != nil {
		return err
	}
	if err := end(w); err != nil {
		return err
	}
	if err := errors.Join(t.say(), w.reach(ctx, m, w.alice)); err != nil {
		return fmt.Errorf("while doublenat is dead: %w", err)
	}
	if err := w.open(ctx); err != nil {
		return err
	}
	again, err := w.alice.renew(m, anHour)
	if err != nil {
		return err
	}
	if again.external != m.external {
		return fmt.Errorf("the restart moved port %d to %d", m.external, again.external)
	}
	if writes := w.office.StatsSince(before).Writes; writes != 0 {
		return fmt.Errorf("the restart wrote to the router %d times", writes)
	}
	return errors.Join(t.say(), w.reach(ctx, m, w.alice), w.layers(ctx, 1))
}

// routerReboots restarts the router: for two seconds nothing is forwarded, all
// connections are forgotten, those to the API are cut, and the rules come back
// with other ids.
func routerReboots(ctx context.Context, w *world) error {
	const down = 2 * time.Second
	w.alice.serve(ctx, w.t, "tcp", 8080)
	m, err := w.alice.request("tcp", 8080, 0, anHour)
	if err != nil {
		return err
	}
	if err := w.reach(ctx, m, w.alice); err != nil {
		return err
	}
	before := w.office.Mark()
	w.office.Reboot(routerostest.Reboot{Down: down, Cut: true, Renumber: true})
	w.strangers = w.office.strangers() // those with other ids, without those that a reboot loses
	silent := "table ip off { chain everything { type filter hook prerouting priority -400; policy drop; }; }"
	if err := errors.Join(w.router.nft(ctx, silent), run(w.router.command(ctx, "conntrack", "-F"))); err != nil {
		return err
	}
	if err := w.internet.unreachable(ctx, "tcp", w.public(m)); err != nil {
		return err
	}
	pause(ctx, down)
	if err := w.router.nft(ctx, "delete table ip off"); err != nil {
		return err
	}
	if err := eventually(ctx, patience, func() error { return w.reach(ctx, m, w.alice) }); err != nil {
		return err
	}
	again, err := w.alice.renew(m, anHour)
	if err != nil {
		return err
	}
	if again.external != m.external {
		return fmt.Errorf("the reboot moved port %d to %d", m.external, again.external)
	}
	w.bob.serve(ctx, w.t, "udp", 5000)
	second, err := w.bob.request("udp", 5000, 0, anHour)
	if err != nil {
		return err
	}
	if writes := w.office.StatsSince(before).Writes; writes != 1 {
		return fmt.Errorf("after the reboot there were %d writes to the router, want 1", writes)
	}
	return errors.Join(w.reach(ctx, second, w.bob), w.reach(ctx, m, w.alice), w.layers(ctx, 2))
}

// gatewayRestarts takes the power from a gateway that grants what is suggested.
// Both mappings come back on the same ports, also that of bob who does not ask.
func gatewayRestarts(ctx context.Context, w *world) error {
	w.alice.serve(ctx, w.t, "tcp", 8080)
	w.bob.serve(ctx, w.t, "udp", 5000)
	m, err := w.alice.request("tcp", 8080, 0, anHour)
	if err != nil {
		return err
	}
	second, err := w.bob.request("udp", 5000, 0, anHour)
	if err != nil {
		return err
	}
	if err := errors.Join(w.reach(ctx, m, w.alice), w.reach(ctx, second, w.bob)); err != nil {
		return err
	}
	// The gateway has to be older than what RFC 6886 §3.6 allows clocks to differ.
	pause(ctx, 8*time.Second)
	if _, err := w.alice.renew(m, anHour); err != nil {
		return err
	}
	if err := errors.Join(w.gateway.restart(ctx), w.awaitTunnel(ctx)); err != nil {
		return err
	}
	if leases, err := w.gateway.leases(ctx); err != nil || leases != 0 {
		return errors.Join(err, fmt.Errorf("the gateway kept %d leases", leases))
	}
	again, err := w.alice.renew(m, anHour)
	if err != nil {
		return err
	}
	if again.external != m.external {
		return fmt.Errorf("the restart moved port %d to %d", m.external, again.external)
	}
	return eventually(ctx, 2*patience, func() error {
		return errors.Join(w.reach(ctx, m, w.alice), w.reach(ctx, second, w.bob), w.layers(ctx, 2))
	})
}

// gatewayMovesPorts takes the power from a gateway that chooses its own ports.
// The mapping comes back on another one, of which its owner hears when he asks,
// and the connection that was open lives on.
func gatewayMovesPorts(ctx context.Context, w *world) error {
	w.alice.serve(ctx, w.t, "tcp", 8080)
	m, err := w.alice.request("tcp", 8080, 0, anHour)
	if err != nil {
		return err
	}
	if err := w.reach(ctx, m, w.alice); err != nil {
		return err
	}
	t, err := w.internet.call(ctx, "tcp", w.public(m), w.alice)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := errors.Join(t.say(), w.gateway.restart(ctx)); err != nil {
		return err
	}
	again := m
	err = eventually(ctx, patience, func() (err error) {
		// On a busy machine the gateway may take too long, and the table answers.
		if again, err = w.alice.renew(m, anHour); err == nil && again.external == m.external {
			err = fmt.Errorf("the gateway gave port %d once more", m.external)
		}
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(
		w.reach(ctx, again, w.alice),
		w.internet.unreachable(ctx, "tcp", w.public(m)),
		t.say(), w.layers(ctx, 1))
}

// everyOtherLost loses every other NAT-PMP packet that comes to the router, requests
// on one interface and replies on another. Nobody notices, and nothing is made
// twice.
func everyOtherLost(requests, replies string) func(context.Context, *world) error {
	loss := fmt.Sprintf("table ip loss { counter lost { }; "+
		"chain requests { type filter hook prerouting priority -400; iifname %q udp dport 5351 numgen inc mod 2 0 counter name lost drop; }; "+
		"chain replies { type filter hook prerouting priority -400; iifname %q udp sport 5351 numgen inc mod 2 0 counter name lost drop; }; }",
		requests, replies)
	return func(ctx context.Context, w *world) error {
		if err := w.router.nft(ctx, loss); err != nil {
			return err
		}
		return calmDespiteLoss(ctx, w)
	}
}

// calmDespiteLoss is the story of everyOtherLost.
func calmDespiteLoss(ctx context.Context, w *world) error {
	w.alice.serve(ctx, w.t, "tcp", 8080)
	m, err := natpmpc(ctx, w.alice, "tcp", 8080, anHour)
	if err != nil {
		return err
	}
	if err := errors.Join(w.reach(ctx, m, w.alice), w.layers(ctx, 1)); err != nil {
		return err
	}
	if err := w.alice.delete(m); err != nil {
		return err
	}
	lost, err := w.router.counter(ctx, "loss", "lost")
	if err == nil && lost < 4 {
		err = fmt.Errorf("only %d packets were lost", lost)
	}
	return errors.Join(err, eventually(ctx, patience, func() error { return w.layers(ctx, 0) }))
}

// tunnelDown is what a client sees whose tunnel is down for longer than its lease
// lasts: answers that keep it calm, and its port once more afterwards.
func tunnelDown(ctx context.Context, w *world) error {
	const lifetime, outage, calm = 45 * time.Second, time.Minute, time.Second
	w.alice.serve(ctx, w.t, "tcp", 8080)
	m, err := w.alice.request("tcp", 8080, 0, lifetime)
	if err != nil {
		return err
	}
	if err := w.reach(ctx, m, w.alice); err != nil {
		return err
	}
	t, err := w.internet.call(ctx, "tcp", w.public(m), w.alice)
	if err != nil {
		return err
	}
	defer t.Close()
	cut := "table ip cut { chain tunnel { type filter hook forward priority 0; udp dport 51820 drop; udp sport 51820 drop; }; }"
	if err := errors.Join(t.say(), w.internet.nft(ctx, cut)); err != nil {
		return err
	}
	for end := time.Now().Add(outage); time.Now().Before(end); pause(ctx, outage/8) {
		again, err := w.alice.renew(m, lifetime)
		if err != nil {
			return fmt.Errorf("while the tunnel is down: %w", err)
		}
		if again.external != m.external || again.lifetime == 0 || again.took > calm {
			return fmt.Errorf("while the tunnel is down the answer is %+v", again)
		}
	}
	if err := w.internet.unreachable(ctx, "tcp", w.public(m)); err != nil {
		return err
	}
	if err := w.internet.nft(ctx, "delete table ip cut"); err != nil {
		return err
	}
	// Nobody can say a word before WireGuard has noticed.
	if err := w.awaitTunnel(ctx); err != nil {
		return err
	}
	err = eventually(ctx, 4*patience, func() error {
		_, err := w.alice.renew(m, lifetime)
		return errors.Join(err, w.reach(ctx, m, w.alice))
	})
	return errors.Join(err, t.say(), w.layers(ctx, 1))
}

// addressChanges gives the gateway another public address. A client that does not
// ask hears of it, because doublenat is a host of its LAN.
func addressChanges(ctx context.Context, w *world) error {
	gateway, ok := w.gateway.(*testGateway)
	if !ok {
		return errors.New("this flow needs the gateway for tests")
	}
	ear, err := listenForAnnouncements(ctx, w)
	if err != nil {
		return err
	}
	if err := ear.hear(ctx, publicAddress); err != nil {
		return err
	}
	w.alice.serve(ctx, w.t, "tcp", 8080)
	m, err := w.alice.request("tcp", 8080, 0, anHour)
	if err != nil {
		return err
	}
	if err := w.reach(ctx, m, w.alice); err != nil {
		return err
	}
	gateway.SetAddress(netip.MustParseAddr(otherPublicAddress))
	gateway.Restart(true)
	if _, err := w.bob.request("udp", 5000, 0, anHour); err != nil {
		return err // by its answer doublenat learns of the restart
	}
	if err := ear.hear(ctx, otherPublicAddress); err != nil {
		return err
	}
	return w.internet.reach(ctx, "tcp", netip.AddrPortFrom(netip.MustParseAddr(otherPublicAddress), m.external), w.alice)
}
