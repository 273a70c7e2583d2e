package router

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// The comments of the rules that bring clients' requests to doublenat, as `doublenat setup` prints
// them. A rule without such a comment is nobody's but the administrator's.
const (
	RedirectNATPMP = "NAT-PMP to doublenat"
	RedirectUPnP   = "UPnP to doublenat"
)

// RedirectError is a redirect that cannot be pointed to another host.
type RedirectError struct {
	// What is wrong, a phrase.
	What string
	// Mend says what to do.
	Mend remedy.Advice
}

// Error returns what is wrong.
func (e *RedirectError) Error() string { return e.What }

// Advice returns the remedy.
func (e *RedirectError) Advice() remedy.Advice { return e.Mend }

// redirect is one of those rules.
type redirect struct {
	id, comment, protocol, port string
	target                      string
	disabled                    bool
}

// service tells the redirects of one comment apart.
func (d redirect) service() string { return d.comment + " " + d.protocol + " " + d.port }

// PointRedirects makes the rules by which clients' requests come to doublenat lead to a host, and
// returns how many did not before, with one write for each. They are known by the comments that
// `doublenat setup` gives them; a rule without one is never touched. There has to be one for NAT-PMP;
// those for UPnP may be missing. The error is a [*RedirectError] if there is none, more than
// one, or one that is disabled; then nothing was changed. Any other error is one of the router, and
// some may have been changed. The router also forgets the connections that led to the old target.
func (r *Router) PointRedirects(ctx context.Context, host netip.Addr) (moved int, err error) {
	if !host.Is4() || host.IsUnspecified() || host.IsMulticast() {
		return 0, fmt.Errorf("pointing the redirects to doublenat: %v is not the IPv4 address of a host", host)
	}
	rules, err := r.redirects(ctx)
	if err != nil {
		return 0, fmt.Errorf("looking for the redirects to doublenat: %w", err)
	}
	if err := r.judgeRedirects(ctx, rules); err != nil {
		return 0, err
	}
	var failed []error
	for _, rule := range rules {
		if rule.disabled || rule.target == host.String() {
			continue
		}
		_, err := r.do(ctx, routeros.Command{
			Path: natPath + "/set", Args: []routeros.Attr{{Name: ".id", Value: rule.id}, {Name: "to-addresses", Value: host.String()}}, Timeout: changeTimeout,
		})
		if err != nil {
			failed = append(failed, fmt.Errorf("pointing redirect %s (%s) to %v: %w", rule.id, rule.comment, host, err))
			continue
		}
		moved++
		forgotten, err := r.forget(ctx, rule)
		r.log.InfoContext(ctx, "redirect now leads here", "rule_id", rule.id, "comment", rule.comment, "from", rule.target, "to", host, "connections_removed", forgotten)
		if err != nil { // They expire when their clients are silent for some minutes.
			r.log.WarnContext(ctx, "clients with an old connection are still led to the other doublenat", "error", err)
		}
	}
	return moved, errors.Join(failed...)
}

// redirects returns the rules with our comments, those for NAT-PMP first.
func (r *Router) redirects(ctx context.Context) ([]redirect, error) {
	rows, err := r.redirecting(ctx, routeros.Equal("comment", RedirectNATPMP), routeros.Equal("comment", RedirectUPnP), "?#|")
	if err != nil {
		return nil, err
	}
	var found []redirect
	for _, row := range rows {
		if comment := row.Value("comment"); comment == RedirectNATPMP || comment == RedirectUPnP {
			found = append(found, redirect{
				id: row.Value(".id"), comment: comment, protocol: row.Value("protocol"), port: row.Value("dst-port"),
				target: row.Value("to-addresses"), disabled: row.Bool("disabled"),
			})
		}
	}
	slices.SortStableFunc(found, func(a, b redirect) int { return strings.Compare(a.comment, b.comment) })
	return found, nil
}

// redirecting returns rules that send packets to another host, of those that the queries select.
func (r *Router) redirecting(ctx context.Context, queries ...string) ([]routeros.Row, error) {
	var rows []routeros.Row
	_, err := r.each(ctx, routeros.Command{
		Path:       natPath + "/print",
		Properties: []string{".id", "action", "protocol", "dst-port", "to-addresses", "comment", "disabled", "dynamic"},
		Queries:    queries,
	}, func(row routeros.Row) error {
		if row.Value("action") == actionDstNAT && !row.Bool("dynamic") && len(rows) < maxRedirects {
			rows = append(rows, row.Clone())
		}
		return nil
	})
	return rows, err
}

// maxRedirects is how many rows are looked at: a router that does not understand a query sends all.
const maxRedirects = 4096

// judgeRedirects returns why the rules cannot be pointed anywhere, nil if they can.
func (r *Router) judgeRedirects(ctx context.Context, rules []redirect) error {
	use := make(map[string]int)
	main, off := 0, ""
	for _, rule := range rules {
		if rule.disabled {
			if rule.comment == RedirectNATPMP {
				off = rule.id
			}
			continue
		}
		if use[rule.service()]++; use[rule.service()] > 1 {
			return &RedirectError{
				What: fmt.Sprintf("more than one rule of the router has the comment %q for %s port %s", rule.comment, rule.protocol, rule.port),
				Mend: remedy.ManyRedirects(rule.comment),
			}
		}
		if rule.comment == RedirectNATPMP {
			main++
		}
	}
	switch {
	case main == 1:
		return nil
	case main > 1:
		return &RedirectError{What: fmt.Sprintf("more than one rule of the router has the comment %q", RedirectNATPMP), Mend: remedy.ManyRedirects(RedirectNATPMP)}
	case off != "":
		return &RedirectError{What: fmt.Sprintf("the redirect %s (%s) is disabled", off, RedirectNATPMP), Mend: remedy.RedirectOff(off)}
	}
	others, err := r.redirecting(ctx, routeros.Equal("dst-port", "5351"), routeros.Equal("protocol", "udp"))
	if err != nil {
		return fmt.Errorf("looking for a redirect without our comment: %w", err)
	}
	for _, row := range others {
		if row.Value("dst-port") == "5351" && row.Value("protocol") == "udp" && !row.Bool("disabled") {
			return &RedirectError{
				What: fmt.Sprintf("rule %s redirects NAT-PMP without the comment %q, so it stays as it is", row.Value(".id"), RedirectNATPMP),
				Mend: remedy.UnmarkedRedirect(row.Value(".id"), RedirectNATPMP),
			}
		}
	}
	return &RedirectError{What: fmt.Sprintf("no rule of the router has the comment %q", RedirectNATPMP), Mend: remedy.NoRedirect()}
}

// Host returns our own address as the router reaches it: that from which we talk to its API, if it
// is in one of the router's own networks. From any other one a NAT may be in between, and the error
// says that it has to be set. The error may be one of the connection, too.
func (r *Router) Host(ctx context.Context) (netip.Addr, error) {
	rows, err := r.noteAddresses(ctx)
	if err != nil {
		return netip.Addr{}, err
	}
	local := r.api.LocalAddress()
	near := slices.ContainsFunc(parseAddressRows(rows).networks, func(p netip.Prefix) bool { return p.Contains(local) })
	reached := near && !r.Owns(local)
	if r.local { // The router is on this very host, as in the lab.
		reached = near || local.IsLoopback()
	}
	if !local.Is4() || !reached {
		return netip.Addr{}, &RedirectError{
			What: fmt.Sprintf("this host talks to the router from %v, which is in none of the router's networks: there may be a NAT in between", local),
			Mend: remedy.UnknownHost(),
		}
	}
	return local, nil
}

// Redirect is where clients' requests go.
type Redirect struct {
	// Comment is that of the rule, [RedirectNATPMP] or [RedirectUPnP]; Port what it matches, for
	// example "udp 5351"; To where it leads, as the router writes it.
	Comment, Port, To string
	// Disabled says that the rule is switched off.
	Disabled bool
}

// LookAtRedirects returns the rules that [Router.PointRedirects] knows, over a connection that is
// somebody else's. It only reads. The error is a [*RedirectError] if they could not be pointed to
// another host, with which they are returned too, or what the commander returned.
func LookAtRedirects(ctx context.Context, to Commander) ([]Redirect, error) {
	r := onlooker(to, Config{})
	rules, err := r.redirects(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for the redirects to doublenat: %w", err)
	}
	var found []Redirect
	for _, d := range rules {
		found = append(found, Redirect{Comment: d.comment, Port: d.protocol + " " + d.port, To: d.target, Disabled: d.disabled})
	}
	return found, r.judgeRedirects(ctx, rules)
}
