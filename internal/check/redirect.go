package check

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/internal/walk"
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
const RedirectComment = router.RedirectNATPMP

// Name implements Probe.
func (redirect) Name() string { return "redirect" }

// Run implements Probe.
func (redirect) Run(ctx context.Context, v *visit) ([]Finding, error) {
	t, err := v.router(ctx)
	if err != nil {
		return nil, err
	}
	lan, err := v.lan(ctx)
	if err != nil {
		return nil, err
	}
	var off, invalid []routeros.Row
	for _, row := range t.Rows[natPath] {
		switch {
		case !redirects(row) || !reached(t, row.Value("chain")):
		case row.Bool("disabled"):
			off = append(off, row)
		case row.Bool("invalid"):
			invalid = append(invalid, row)
		default:
			v.redirects = append(v.redirects, row)
		}
	}
	switch {
	case len(v.redirects) > 0:
	case len(invalid) > 0:
		return []Finding{bad(Fail, KindInvalid, "the redirect of UDP 5351 is invalid: "+describeInvalid(invalid[0]),
			"use an existing interface or list", remedy.NewCommand(natPath+"/set", append([]string{"numbers", invalid[0].Value(".id")}, lan...)...))}, nil
	case len(off) > 0:
		return []Finding{bad(Fail, KindRedirectOff, "the redirect of UDP 5351 is disabled: "+describe(off[0]),
			"enable it", remedy.NewCommand(natPath+"/enable", "numbers", off[0].Value(".id")))}, nil
	default:
		return []Finding{v.noRedirect(lan)}, nil
	}
	if target, err := netip.ParseAddr(v.redirects[0].Value("to-addresses")); err == nil {
		v.target = target
	}
	return v.judgeRedirect(lan), nil
}

// judgeRedirect looks at a redirect that is there.
func (v *visit) judgeRedirect(lan []string) []Finding {
	for _, look := range []func([]string) []Finding{v.open, v.shadowed} {
		if found := look(lan); len(found) > 0 {
			return found
		}
	}
	row := v.redirects[0]
	if v.target.IsValid() && len(v.cfg.Self) > 0 && !slices.Contains(v.cfg.Self, v.target) {
		return []Finding{v.elsewhere(fmt.Sprintf("UDP 5351 goes to %v, which is not this host (%v)", v.target, v.cfg.Self),
			remedy.NewCommand(natPath+"/set", "numbers", row.Value(".id"), "to-addresses", v.cfg.Self[0].String()))}
	}
	if limit := confined(row); limit != "" {
		return []Finding{good("UDP 5351 goes to %s, %s", row.Value("to-addresses"), limit)}
	}
	return []Finding{good("UDP 5351 from the LAN goes to %s", row.Value("to-addresses"))}
}

// redirects reports whether a rule sends NAT-PMP requests to another host.
func redirects(row routeros.Row) bool {
	if !translates(row) || row.Value("chain") == "srcnat" || strings.Trim(row.Value("dst-port"), "0123456789,-") != "" || row.Value("dst-port") == "" {
		return false // a rule for all ports but some is made for something else
	}
	ports := routeros.Row{{Name: "dst-port", Value: row.Value("dst-port")}, {Name: "protocol", Value: row.Value("protocol")}}
	return new(walk.Tables).Match(ports, walk.Packet{Protocol: "udp", DstPort: natpmp.Port}) == always
}

// reached reports whether packets can come to a chain of NAT from dstnat.
func reached(t *walk.Tables, chain string) bool {
	known := []string{"dstnat"}
	for i := 0; i < len(known); i++ {
		if known[i] == chain {
			return true
		}
		for _, row := range t.Rows[natPath] {
			to := row.Value("jump-target")
			if row.Value("chain") == known[i] && row.Value("action") == "jump" && !row.Bool("disabled") && !slices.Contains(known, to) {
				known = append(known, to)
			}
		}
	}
	return false
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
func (v *visit) open(lan []string) []Finding {
	var outside []string
	for _, name := range append(v.net.Exits(mainTable, somewhere()), v.survey.InInterface) {
		if name != "" {
			outside = append(outside, name)
		}
	}
	for _, row := range v.redirects {
		if confined(row) != "" {
			continue
		}
		for _, name := range outside {
			f := walk.Flow{In: name, Protocol: "udp", Dst: netip.AddrPortFrom(v.net.AddressOn(name), natpmp.Port)}
			got := v.net.Redirect(f, true) // from anywhere
			if got.Trail.DstNAT.ID() == row.Value(".id") || got.How == walk.Unsure && got.Spot.ID() == row.Value(".id") {
				return []Finding{openTo(row, name, lan)}
			}
		}
	}
	return nil
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
