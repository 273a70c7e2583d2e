package router

import (
	"context"
	"slices"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// natRule is a row of ours with what its comment says.
type natRule struct {
	owned owned
	rule  nat.Rule
}

// find returns the rows of ours whose comment says one of these, in the router's
// order. The router does the searching, so that it is cheap with a large table.
func (r *Router) find(ctx context.Context, s *site, wanted ...owned) ([]natRule, error) {
	var queries []string
	for i, o := range wanted {
		queries = append(queries, routeros.Equal("comment", o.String()))
		if i > 0 {
			queries = append(queries, "?#|")
		}
	}
	reply, err := r.do(ctx, routeros.Command{
		Path: natPath + "/print", Properties: rowProperties(), Queries: queries, Timeout: changeTimeout,
	})
	if err != nil {
		return nil, err
	}
	var found []natRule
	for _, row := range parseRows(reply.Rows) {
		if o, ok := s.ours(r.cfg.Instance, row); ok && slices.Contains(wanted, o) {
			found = append(found, natRule{owned: o, rule: row.rule(o, s.iface)})
		}
	}
	return found, nil
}

// pick returns the row with this id, or the first one: the router may have given
// the rows new ids. Ok is false if there is none.
func pick(rows []natRule, id string) (row natRule, ok bool) {
	if i := slices.IndexFunc(rows, func(n natRule) bool { return n.rule.ID == id }); i >= 0 {
		return rows[i], true
	}
	if len(rows) == 0 {
		return natRule{}, false
	}
	return rows[0], true
}

// removable returns the ids to remove for a rule with this id: that row, or if
// the router has given the rows new ids, the first one with its comment. A rule
// whose id was never known may exist several times: all of them go.
func removable(rows []natRule, id string) []string {
	if id != "" {
		if row, ok := pick(rows, id); ok {
			return []string{row.rule.ID}
		}
		return nil
	}
	var ids []string
	for _, row := range rows {
		ids = append(ids, row.rule.ID)
	}
	return ids
}
