package check

import (
	"context"
	"slices"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/routeros"
)

// rights looks what the router's user may do.
type rights struct{ onRouter }

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
	group, missing, excess := router.RightsOf(v.cfg.API.User, users, groups)
	switch {
	case group == "":
		// Users of a RADIUS server are not in the table.
		return []Finding{good("the group of the user %q is not listed; what it may do shows when it is done", v.cfg.API.User)}, nil
	case len(missing) > 0:
		level := Fail
		if slices.Equal(missing, []string{"test"}) {
			level = Warn // the routing table does in place of the router's own answer
		}
		advice := router.Grant(v.cfg.API.User, group, missing, users, groups)
		return []Finding{{Level: level, Seen: "the user lacks the policies " + strings.Join(missing, ", "), Advice: advice}}, nil
	case len(excess) > 0:
		return []Finding{{Level: Warn, Seen: "the user may do more than doublenat needs: " + strings.Join(excess, ", "), Advice: remedy.TooMany()}}, nil
	default:
		return []Finding{good("the user may do what is needed, and no more")}, nil
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
