package check

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"doublenat/internal/nat"
	"doublenat/internal/realm"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
)

// pooled looks at the ports of a pool, and at the address at which they are reached.
type pooled struct{ onRouter }

// The kinds of trouble with a pool.
const (
	// KindPoolTaken is a pool of which others use ports on the router.
	KindPoolTaken remedy.Kind = "pool taken"
	// KindPoolAddress is a pool whose public address nobody knows.
	KindPoolAddress remedy.Kind = "pool address"
)

// Name implements Probe.
func (pooled) Name() string { return "pool" }

// Run implements Probe. It is the daemon's own look at the table.
func (pooled) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if v.survey.InInterface == "" {
		return nil, nil
	}
	seen, err := router.LookAtRules(ctx, v.commander(), router.Config{InInterface: v.cfg.InInterface, Instance: v.cfg.Instance})
	if err != nil {
		return nil, err
	}
	known, address, err := v.poolAddress(ctx)
	found := []Finding{v.poolPorts(seen)}
	if v.cfg.STUN == nil || err != nil {
		return append(found, address), err
	}
	told, reflected, err := v.reflect(ctx, known)
	if known.IsValid() || !told {
		found = append(found, address)
	}
	return append(found, reflected), err
}

// reflect asks the STUN server, whose answer is to be known if the router knows no address.
// Told is false if it is not to be believed.
func (v *visit) reflect(ctx context.Context, known netip.Addr) (told bool, f Finding, err error) {
	asking, cancel := context.WithTimeout(ctx, v.cfg.Patience)
	defer cancel()
	iface := v.survey.InInterface
	answer, err := v.cfg.STUN.Ask(asking)
	if err != nil {
		return false, Finding{Level: Warn, Seen: fmt.Sprintf("the STUN server %s: %v", v.cfg.STUN.Server, err), Advice: remedy.STUNSilent()}, nil
	}
	left, err := router.LookAtConnection(ctx, v.commander(), answer.Local, answer.Server)
	if err != nil {
		return false, Finding{}, err
	}
	own, err := v.addresses(ctx, iface)
	if err != nil {
		return false, Finding{}, err
	}
	says := answer.Mapped.Addr()
	if why, advice := v.cfg.STUN.Judge(answer, left, own, iface); why != "" {
		return false, Finding{Level: Warn, Seen: fmt.Sprintf("the STUN server %s is not believed: %s", v.cfg.STUN.Server, why), Advice: advice}, nil
	}
	if known.IsValid() && known != says {
		return true, bad(Warn, KindPoolAddress, fmt.Sprintf("the STUN server %s sees %v through %s, and %v is told", v.cfg.STUN.Server, says, iface, known),
			"see which of both the ports are reached at: PUBLIC_ADDRESS is told before all, and the router is believed before the server"), nil
	}
	if known.IsValid() {
		return true, good("the STUN server %s sees the same address through %s", v.cfg.STUN.Server, iface), nil
	}
	return true, good("the public address is %v, by the STUN server %s through %s", says, v.cfg.STUN.Server, iface), nil
}

// maxTaken is how many ports a finding names.
const maxTaken = 10

// poolPorts says which ports of the pool others use.
func (v *visit) poolPorts(seen nat.Snapshot) Finding {
	var taken []string
	for _, port := range v.cfg.Pool.Ports() {
		for _, proto := range []nat.Protocol{nat.TCP, nat.UDP} {
			if _, has := v.cfg.Pool.External(proto, port.Inner); has && port.Has(proto) && seen.Used[proto].Has(port.Inner) {
				taken = append(taken, fmt.Sprintf("%d/%v", port.Inner, proto))
			}
		}
	}
	n := v.cfg.Pool.Len()
	switch {
	case n == 0:
		return bad(Fail, KindPoolTaken, "the pool has no port", "put ports into VPN_GATEWAY=pool:, or into the file that GATEWAY_POOL_FILE names")
	case len(taken) == 0:
		return good("nobody else on the router uses ports of the pool, which has %d", n)
	}
	named := strings.Join(taken[:min(len(taken), maxTaken)], ", ")
	if len(taken) > maxTaken {
		named += fmt.Sprintf(" and %d more", len(taken)-maxTaken)
	}
	return bad(Warn, KindPoolTaken, fmt.Sprintf("services or rules of the router that are not ours use ports of the pool: %s", named),
		"leave them out of the pool, or stop what uses them; clients get the others")
}

// poolAddress says at which address the pool is reached, as far as the operator or the router
// knows; else it is the zero Addr. Where it is the router's own, or MikroTik's servers saw
// it, the daemon finds it.
func (v *visit) poolAddress(ctx context.Context) (netip.Addr, Finding, error) {
	if v.cfg.Public.IsValid() {
		return v.cfg.Public, good("the public address is %v, by PUBLIC_ADDRESS", v.cfg.Public), nil
	}
	own, err := v.addresses(ctx, v.survey.InInterface)
	if err != nil {
		return netip.Addr{}, Finding{}, err
	}
	for _, a := range own {
		if realm.Public(a) {
			return a, good("the public address is %v, the router's own on %s", a, v.survey.InInterface), nil
		}
	}
	rows, err := v.rows(ctx, "/interface")
	if err != nil {
		return netip.Addr{}, Finding{}, err
	}
	row, _ := named(rows, v.survey.InInterface)
	cloud, err := v.rows(ctx, "/ip/cloud")
	if err == nil && len(cloud) > 0 && !router.IsVPNType(row.Value("type")) {
		if a, err := netip.ParseAddr(cloud[0].Value("public-address")); err == nil {
			return a, good("the public address is %v, by /ip/cloud", a), nil
		}
	}
	return netip.Addr{}, bad(Warn, KindPoolAddress, "the public address is not known: ports work, but programs that ask for the address get none",
		"set PUBLIC_ADDRESS, or STUN_SERVER to a STUN server that is asked through "+v.survey.InInterface), nil
}
