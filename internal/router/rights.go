package router

import (
	"context"
	"slices"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// rights is what the router says about our user.
type rights struct {
	// group is the name of the user's group.
	group string
	// missing are policies that are needed, excess those that are not; nil for none.
	missing, excess []string
}

// parseRights compares the policies of a group, as a print has them, with what is needed.
func parseRights(group, policies string) rights {
	granted := strings.Split(policies, ",")
	found := rights{group: group}
	for policy := range strings.SplitSeq(remedy.Policies, ",") {
		if !slices.Contains(granted, policy) {
			found.missing = append(found.missing, policy)
		}
	}
	for _, policy := range granted {
		if policy != "" && !strings.HasPrefix(policy, "!") && !slices.Contains(strings.Split(remedy.Policies, ","), policy) {
			found.excess = append(found.excess, policy)
		}
	}
	return found
}

// checkRights looks up what our user may do, and tells of what it lacks and of
// what it has for nothing. Where the router does not let us look, it is noticed
// when a command is refused.
func (r *Router) checkRights(ctx context.Context) {
	users, err := r.peek(ctx, "/user", "name", "group")
	if err != nil {
		return
	}
	groups, err := r.peek(ctx, "/user/group", "name", "policy")
	if err != nil {
		return
	}
	group := lookUp(users, r.cfg.API.User, "group")
	policies := lookUp(groups, group, "policy")
	if group == "" || policies == "" {
		return
	}
	found := parseRights(group, policies)
	r.tellRights(ctx, found, Grant(r.cfg.API.User, group, found.missing, users, groups))
}

// Grant returns what to type for a user that lacks policies, given the rows of
// /user and /user/group. A group that RouterOS comes with, or that has other users
// in it, stays as it is: whoever is in it would get these rights as well, and lose
// the others.
func Grant(user, group string, missing []string, users, groups []routeros.Row) remedy.Advice {
	policy := strings.Join(missing, " and ")
	shared := slices.ContainsFunc(users, func(row routeros.Row) bool {
		return row.Value("group") == group && row.Value("name") != user
	})
	if !shared && !slices.Contains([]string{"read", "write", "full"}, group) {
		return remedy.Permission(group, policy)
	}
	name := "doublenat"
	for lookUp(groups, name, "name") != "" {
		name += "-api"
	}
	return remedy.OwnGroup(user, group, name, policy)
}

// peek is print for a table whose refusal is no news.
func (r *Router) peek(ctx context.Context, table string, properties ...string) ([]routeros.Row, error) {
	r.reads.Add(1)
	reply, err := r.client.Do(ctx, routeros.Command{Path: table + "/print", Properties: properties})
	if err != nil {
		r.log.DebugContext(ctx, "router does not tell of users", "table", table, "error", err)
		return nil, err
	}
	return reply.Rows, nil
}

// lookUp returns a property of the row with the name, "" if there is none.
func lookUp(rows []routeros.Row, name, property string) string {
	for _, row := range rows {
		if row.Value("name") == name {
			return row.Value(property)
		}
	}
	return ""
}

// tellRights logs what is not as it should be, with the commands that mend it, and
// once only until it is something else. Grant mends what is missing.
func (r *Router) tellRights(ctx context.Context, found rights, grant remedy.Advice) {
	lacks, excess := strings.Join(found.missing, ","), strings.Join(found.excess, ",")
	r.mu.Lock()
	known := r.rights.group == found.group &&
		slices.Equal(r.rights.missing, found.missing) && slices.Equal(r.rights.excess, found.excess)
	r.rights = found
	for _, policy := range found.missing {
		if policy == "write" {
			r.denied[policy] = struct{}{} // until a write succeeds
		}
	}
	r.mu.Unlock()
	switch {
	case known:
	case lacks != "":
		r.log.ErrorContext(ctx, "router denies permission", "policy", lacks, "group", found.group, "remedy", grant)
	case excess != "":
		r.log.WarnContext(ctx, "the router's user may do more than doublenat needs", "group", found.group, "excess", excess,
			"remedy", remedy.TooMany())
	}
}
