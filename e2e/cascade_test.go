//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"doublenat/internal/lab"
)

// cascaded is a world whose router stands in the LAN of another world, and whose doublenat
// asks that world's. Outer has how that one asks the provider's box.
func cascaded(outer map[string]string) site {
	before := atLine(startMiniupnpd, outer)
	before.tables = lab.BeforeAnother
	return site{
		atLine: true, behind: &before, tables: lab.BehindAnother,
		environ: map[string]string{"VPN_GATEWAY": "natpmp://192.168.90.1", "MIKROTIK_IN_INTERFACE": "ether1", "MAX_LIFETIME": "1m"},
	}
}

// standBehind makes the world around the router, in which doublenat runs until this one is closed.
func (w *world) standBehind(t *testing.T, around site) {
	t.Helper()
	ctx, outer := newWorld(t, around)
	w.outer, w.internet = outer, outer.internet
	if err := outer.open(ctx); err != nil {
		t.Fatal(err)
	}
}

// wireBehind puts the router into the LAN of the outer one.
func (w *world) wireBehind(ctx context.Context) error {
	return errors.Join(
		w.outer.router.ip(ctx, "address add 192.168.90.1/24 dev bridge",
			"link add lan8 type veth peer name ether1 netns "+w.router.name, "link set lan8 master bridge up"),
		w.router.ip(ctx, "address add 192.168.90.2/24 dev ether1", "link set ether1 up"))
}

// doubled is a gateway that is the doublenat of another world.
type doubled struct {
	*world
}

var _ vpn = doubled{}

// leases returns how many rules the outer doublenat has, if its gateway has as many leases.
func (d doubled) leases(ctx context.Context) (int, error) {
	rules := d.office.rules()
	return rules, d.layers(ctx, rules)
}

// restart is a power cut in the outer world: its doublenat is killed, and its gateway forgets.
func (d doubled) restart(ctx context.Context) error {
	d.doublenat.kill()
	if err := errors.Join(d.gateway.restart(ctx), d.open(ctx)); err != nil {
		return fmt.Errorf("the outer world: %w", err)
	}
	return nil
}

func (d doubled) trouble() error { return errors.Join(d.office.trouble(), d.gateway.trouble()) }
