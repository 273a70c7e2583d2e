package check

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"doublenat/internal/remedy"
	"doublenat/natpmp"
	"doublenat/routeros"
)

// redirect looks for the rule that brings the clients' requests to doublenat.
type redirect struct{ onRouter }

// The kinds of trouble with the redirect.
const (
	// KindNoRedirect is a router that keeps the clients' requests.
	KindNoRedirect remedy.Kind = "no redirect"
	// KindRedirectOff is a redirect that is disabled.
	KindRedirectOff remedy.Kind = "redirect disabled"
	// KindOpenRedirect is a redirect that takes requests from the Internet, too.
	KindOpenRedirect remedy.Kind = "open redirect"
	// KindElsewhere is a redirect to another host.
	KindElsewhere remedy.Kind = "redirect elsewhere"
	// KindShadowed is a redirect that an earlier rule keeps the requests from.
	KindShadowed remedy.Kind = "redirect shadowed"
)

const natPath = "/ip/firewall/nat"

// RedirectComment is the comment of the rule that the set-up makes.
const RedirectComment = "NAT-PMP to doublenat"

// Name implements Probe.
func (redirect) Name() string { return "redirect" }

// Run implements Probe.
func (redirect) Run(ctx context.Context, v *visit) ([]Finding, error) {
	rows, err := v.rows(ctx, natPath)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(slices.Clone(rows), func(r routeros.Row) bool { return !redirects(r) })
	enabled := slices.DeleteFunc(slices.Clone(rows), func(r routeros.Row) bool { return r.Bool("disabled") || r.Bool("invalid") })
	lan, err := v.lan(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case len(rows) == 0:
		return []Finding{v.noRedirect(lan)}, nil
	case len(enabled) == 0:
		return []Finding{bad(Fail, KindRedirectOff, "the redirect of UDP 5351 is disabled: "+describe(rows[0]),
			"enable it", remedy.NewCommand(natPath+"/enable", "numbers", rows[0].Value(".id")))}, nil
	}
	if target, err := netip.ParseAddr(enabled[0].Value("to-addresses")); err == nil {
		v.target = target
	}
	for _, look := range []func(context.Context, []routeros.Row, []string) ([]Finding, error){v.open, v.shadowed} {
		if found, err := look(ctx, enabled, lan); len(found) > 0 || err != nil {
			return found, err
		}
	}
	if v.target.IsValid() && len(v.cfg.Self) > 0 && !slices.Contains(v.cfg.Self, v.target) {
		// The check may be made from some other host.
		return []Finding{bad(Warn, KindElsewhere,
			fmt.Sprintf("UDP 5351 goes to %v, which is not this host (%v)", v.target, v.cfg.Self),
			"if doublenat runs on this host, send it here",
			remedy.NewCommand(natPath+"/set", "numbers", enabled[0].Value(".id"), "to-addresses", v.cfg.Self[0].String()))}, nil
	}
	if limit := confined(enabled[0]); limit != "" {
		return []Finding{good("UDP 5351 goes to %s, %s", enabled[0].Value("to-addresses"), limit)}, nil
	}
	return []Finding{good("UDP 5351 from the LAN goes to %s", enabled[0].Value("to-addresses"))}, nil
}

// redirects reports whether a rule sends NAT-PMP requests to another host.
func redirects(row routeros.Row) bool {
	action := row.Value("action")
	return row.Value("chain") == "dstnat" && (action == "dst-nat" || action == "redirect" || action == "netmap") &&
		matchPort(row.Value("dst-port"), natpmp.Port) == always && matchProtocol(row.Value("protocol"), "udp") == always
}

// noRedirect is the finding for a router without the rule.
func (v *visit) noRedirect(lan []string) Finding {
	to := "172.30.254.2"
	if len(v.cfg.Self) > 0 {
		to = v.cfg.Self[0].String()
	}
	words := append([]string{"chain", "dstnat", "action", "dst-nat", "protocol", "udp", "dst-port", "5351"}, lan...)
	words = append(words, "dst-address-type", "local", "to-addresses", to, "comment", RedirectComment)
	return bad(Fail, KindNoRedirect, "UDP 5351 is not redirected: what clients ask of the router never reaches doublenat",
		"redirect it to the address of doublenat's host", remedy.NewCommand(natPath+"/add", words...))
}

// lan returns the matcher, as name and value, that limits a rule to the LAN: the
// list of the default configuration, or else the first bridge.
func (v *visit) lan(ctx context.Context) ([]string, error) {
	has, err := v.hasList(ctx, "LAN")
	if has || err != nil {
		return []string{"in-interface-list", "LAN"}, err
	}
	rows, err := v.rows(ctx, "/interface")
	i := slices.IndexFunc(rows, func(r routeros.Row) bool { return r.Value("type") == "bridge" })
	if i < 0 {
		return []string{"in-interface-list", "LAN"}, err
	}
	return []string{"in-interface", rows[i].Value("name")}, err
}

// open looks for a rule that takes requests from the Internet too. A limit to
// private addresses keeps it out as well as one to the LAN's interfaces does.
func (v *visit) open(ctx context.Context, rules []routeros.Row, lan []string) ([]Finding, error) {
	outside, err := v.exits(ctx, mainTable)
	if err != nil {
		return nil, err
	}
	if v.survey.InInterface != "" {
		outside = append(outside, v.survey.InInterface)
	}
	for _, row := range rules {
		if confined(row) != "" {
			continue
		}
		for _, name := range outside {
			f, err := v.meets(ctx, row, packet{in: name, protocol: "udp", port: natpmp.Port, state: "new", local: true})
			if err != nil {
				return nil, err
			}
			if f != never {
				return []Finding{openTo(row, name, lan)}, nil
			}
		}
	}
	return nil, nil
}

// openTo is the finding for a redirect that the interface to the Internet can
// use. A limit by source that is none would keep the LAN out once the right one is there.
func openTo(row routeros.Row, name string, lan []string) Finding {
	commands := []remedy.Command{remedy.NewCommand(natPath+"/set", append([]string{"numbers", row.Value(".id")}, lan...)...)}
	for _, limit := range []string{"src-address", "src-address-list"} {
		if row.Value(limit) != "" {
			commands = append(commands, remedy.NewCommand(natPath+"/unset", "numbers", row.Value(".id"), "value-name", limit))
		}
	}
	return bad(Fail, KindOpenRedirect, fmt.Sprintf("the redirect %s takes requests from %s too: everybody there can open ports", describe(row), name),
		"limit it to the LAN", commands...)
}
