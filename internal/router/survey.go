package router

import (
	"context"
	"log/slog"

	"doublenat/routeros"
)

// Commander sends commands to a router: [routeros.Client] does.
type Commander interface {
	// Do sends the command and waits for its reply, see [routeros.Client.Do].
	Do(ctx context.Context, cmd routeros.Command) (*routeros.Reply, error)
}

// Survey is what a [Router] finds out before it makes a rule.
type Survey struct {
	// Identity is the router's name, Version its RouterOS and Board its hardware; any
	// of them is empty if the router does not tell.
	Identity, Version, Board string
	// InInterface is the tunnel interface, never empty.
	InInterface string
	// Found is where that was found: a setting, or a path of RouterOS.
	Found string
}

// Look surveys a router in the very way of a [Router], over a connection that is
// somebody else's. It only reads. Of the configuration it uses InInterface and
// Gateway. The error is an [*InterfaceError], a [*PermissionError] or what the
// commander returned.
func Look(ctx context.Context, to Commander, cfg Config) (Survey, error) {
	r := &Router{cfg: cfg, log: slog.New(slog.DiscardHandler), client: to, denied: make(map[string]struct{})}
	s, err := r.survey(ctx)
	if err != nil {
		return Survey{}, err
	}
	return Survey{Identity: s.identity, Version: s.version, Board: s.board, InInterface: s.iface, Found: s.found}, nil
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
