package check

import (
	"context"
	"slices"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// rights looks what the router's user may do.
type rights struct{ onRouter }

// KindTooMany is a user that may do more than doublenat ever does.
const KindTooMany remedy.Kind = "too many rights"

// Name implements Probe.
func (rights) Name() string { return "rights" }

// Run implements Probe. The right to read shows by reading; whether the others
// are there is only known where the groups can be read.
func (rights) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if _, err := v.rows(ctx, "/interface"); err != nil {
		return nil, err
	}
	users, err := v.rows(ctx, "/user")
	if err != nil && !refused(err) {
		return nil, err
	}
	groups, err := v.rows(ctx, "/user/group")
	if err != nil && !refused(err) {
		return nil, err
	}
	user, okUser := named(users, v.cfg.API.User)
	group, okGroup := named(groups, user.Value("group"))
	if !okUser || !okGroup {
		// Users of a RADIUS server are not in the table.
		return []Finding{good("the group of the user %q is not listed; what it may do shows when it is done", v.cfg.API.User)}, nil
	}
	name, has := group.Value("name"), fields(group.Value("policy"))
	var missing []string
	for _, policy := range []string{"read", "write"} {
		if !slices.Contains(has, policy) {
			missing = append(missing, policy)
		}
	}
	switch {
	case len(missing) > 0:
		advice := remedy.Permission(name, strings.Join(missing, " and "))
		return []Finding{{Level: Fail, Seen: "the user may not " + strings.Join(missing, " nor "), Advice: advice}}, nil
	case slices.Contains(has, "policy"):
		return []Finding{bad(Warn, KindTooMany, "the user may change users and their rights, which doublenat never does",
			"give doublenat a user of its own, with a password of its own, and set MIKROTIK_API_USER",
			remedy.NewCommand("/user/group/add", "name", "doublenat", "policy", remedy.Policies),
			remedy.NewCommand("/user/add", "name", "doublenat", "group", "doublenat", "password", "CHANGE-ME"))}, nil
	case !slices.Contains(has, "test"):
		return []Finding{good("the user may read and write (without the policy test the tunnel is found by the routing table)")}, nil
	default:
		return []Finding{good("the user may read and write")}, nil
	}
}

// named returns the row of the name.
func named(rows []routeros.Row, name string) (routeros.Row, bool) {
	i := slices.IndexFunc(rows, func(r routeros.Row) bool { return name != "" && r.Value("name") == name })
	if i < 0 {
		return nil, false
	}
	return rows[i], true
}
