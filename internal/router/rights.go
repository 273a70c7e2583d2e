package router

import (
	"context"
	"slices"
	"strings"
	"time"

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

// noteRights takes in what our user may do, and tells of what it lacks and of what it
// has for nothing. Where the router did not let us look, ok is false, and it is noticed
// when a command is refused.
func (r *Router) noteRights(ctx context.Context, found rights, ok bool) {
	r.mu.Lock()
	r.login.rightsAt = time.Now()
	r.login.rights, r.login.known = found, ok
	r.mu.Unlock()
	if !ok {
		return
	}
	var grant remedy.Advice
	if len(found.missing) > 0 {
		grant = r.grant(ctx, found)
	}
	r.tellRights(ctx, found, grant)
}

// watchRights looks up at times what our user may do now. A session keeps the
// policies of its login: where they differ, another login is due, with which
// what was granted works and what was taken is told.
func (r *Router) watchRights(ctx context.Context) {
	r.mu.Lock()
	login := r.login
	r.mu.Unlock()
	if !login.known || time.Since(login.rightsAt) < rightsAge {
		return
	}
	found, ok := r.lookAtRights(ctx)
	r.mu.Lock()
	r.login.rightsAt = time.Now()
	r.mu.Unlock()
	if ok && !found.equal(login.rights) {
		r.log.InfoContext(ctx, "rights of the router's user changed, logging in again", "group", found.group)
		r.loginAnew()
	}
}

// lookAtRights reads the user's row and that of its group. Ok is false if the router
// does not tell.
func (r *Router) lookAtRights(ctx context.Context) (found rights, ok bool) {
	users, err := r.peek(ctx, "/user", routeros.Equal("name", r.cfg.API.User), "name", "group")
	if err != nil {
		return rights{}, false
	}
	group := lookUp(users, r.cfg.API.User, "group")
	if group == "" {
		return rights{}, false // a user of a RADIUS server is not in the table
	}
	groups, err := r.peek(ctx, "/user/group", routeros.Equal("name", group), "name", "policy")
	if err != nil {
		return rights{}, false
	}
	policies := lookUp(groups, group, "policy")
	return parseRights(group, policies), policies != ""
}

// grant returns what to type for what the user lacks.
func (r *Router) grant(ctx context.Context, found rights) remedy.Advice {
	users, errUsers := r.peek(ctx, "/user", "", "name", "group")
	groups, errGroups := r.peek(ctx, "/user/group", "", "name", "policy")
	if errUsers != nil || errGroups != nil {
		return remedy.Permission(found.group, strings.Join(found.missing, " and "))
	}
	return Grant(r.cfg.API.User, found.group, found.missing, users, groups)
}

// equal reports whether both are the same.
func (found rights) equal(other rights) bool {
	return found.group == other.group && slices.Equal(found.missing, other.missing) && slices.Equal(found.excess, other.excess)
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

// peek is print for a table whose refusal is no news, of the rows that pass the query,
// "" for all.
func (r *Router) peek(ctx context.Context, table, query string, properties ...string) ([]routeros.Row, error) {
	r.reads.Add(1)
	cmd := routeros.Command{Path: table + "/print", Properties: properties}
	if query != "" {
		cmd.Queries = []string{query}
	}
	var rows []routeros.Row
	size := 0
	_, err := r.client.Each(ctx, cmd, func(row routeros.Row) error {
		if size += row.Size(); size <= maxTable {
			rows = append(rows, row.Clone())
		}
		return nil
	})
	if err != nil {
		r.log.DebugContext(ctx, "router does not list its users", "table", table, "error", err)
		return nil, err
	}
	return rows, nil
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
	known := r.rights.equal(found)
	r.rights = found
	const write = "write"
	_, denied := r.denied[write]
	lacksWrite := slices.Contains(found.missing, write)
	if lacksWrite {
		r.denied[write] = struct{}{} // until a write succeeds, or the group has it
	} else {
		delete(r.denied, write)
	}
	r.mu.Unlock()
	if denied && !lacksWrite {
		r.log.InfoContext(ctx, "router grants permission again", "policy", write)
	}
	switch {
	case known:
	case lacks != "":
		r.log.ErrorContext(ctx, "router denies permission", "policy", lacks, "group", found.group, "remedy", grant)
	case excess != "":
		r.log.WarnContext(ctx, "the router's user has more rights than doublenat needs", "group", found.group, "excess", excess,
			"remedy", remedy.TooMany())
	}
}
