package router

import (
	"context"
	"log/slog"
	"net/netip"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// Commander sends commands to a router: [routeros.Client] does.
type Commander interface {
	// Do sends the command and waits for its reply, see [routeros.Client.Do].
	Do(ctx context.Context, cmd routeros.Command) (*routeros.Reply, error)
	// Each is Do for tables of any size, see [routeros.Client.Each].
	Each(ctx context.Context, cmd routeros.Command, f func(routeros.Row) error) (*routeros.Reply, error)
}

// Survey is what a [Router] finds out before it makes a rule.
type Survey struct {
	// Identity is the router's name, Version its RouterOS and Board its hardware; any
	// of them is empty if the router does not tell.
	Identity, Version, Board string
	// InInterface is the interface to the gateway, never empty, and LinkKind what it is.
	InInterface string
	LinkKind    remedy.LinkKind
	// Found is where that was found: a setting, or a path of RouterOS.
	Found string
	// Gateway is the gateway's address, as it is configured or the default route has it; the
	// zero Addr without a gateway.
	Gateway netip.Addr
	// Elsewhere is the interface through which the router reaches the gateway although
	// the operator named another one; empty for none.
	Elsewhere string
}

// Link returns the way to the gateway, the zero Link for the zero Survey.
func (s Survey) Link() remedy.Link { return remedy.Link{Interface: s.InInterface, Kind: s.LinkKind} }

// Look surveys a router in the very way of a [Router], over a connection that is
// somebody else's. It only reads. Of the configuration it uses InInterface,
// Gateway and Place. The error is an [*InterfaceError], a [*PermissionError] or what the
// commander returned.
func Look(ctx context.Context, to Commander, cfg Config) (Survey, error) {
	s, err := onlooker(to, cfg).survey(ctx)
	if err != nil {
		return Survey{}, err
	}
	return Survey{Identity: s.identity, Version: s.version, Board: s.board, InInterface: s.iface, LinkKind: s.kind.link(), Found: s.found, Gateway: s.gateway, Elsewhere: s.elsewhere}, nil
}

// LookAtRules reads the NAT table in the very way of a [Router], over a connection that
// is somebody else's. It only reads. Of the configuration it uses InInterface, Gateway,
// Place and Instance. The error is as that of [Look].
func LookAtRules(ctx context.Context, to Commander, cfg Config) (nat.Snapshot, error) {
	r := onlooker(to, cfg)
	s, err := r.survey(ctx)
	if err != nil {
		return nat.Snapshot{}, err
	}
	v, err := r.look(ctx, s)
	return v.snapshot, err
}

// onlooker returns a router that is never run.
func onlooker(to Commander, cfg Config) *Router {
	return &Router{cfg: cfg, log: slog.New(slog.DiscardHandler), client: to, denied: make(map[string]struct{}), deeds: newDeeds()}
}

// Made reports whether a comment is one that the instance writes into its rules,
// wherever the rule is now.
func Made(instance, comment string) bool {
	o, ok := parseComment(comment)
	return ok && o.instance == instance
}

// RightsOf compares the policies that the user has with those that doublenat needs,
// given the rows of /user and /user/group. Group is empty if they do not tell.
func RightsOf(user string, users, groups []routeros.Row) (group string, missing, excess []string) {
	group = lookUp(users, user, "group")
	policies := lookUp(groups, group, "policy")
	if group == "" || policies == "" {
		return "", nil, nil
	}
	found := parseRights(group, policies)
	return group, found.missing, found.excess
}
