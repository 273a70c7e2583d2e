package router

import (
	"context"
	"slices"
	"strings"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// natRule is a row of ours with what its comment says, or should say.
type natRule struct {
	owned owned
	rule  nat.Rule
	iface string
	// srcAddress and srcPort are those matchers as they stand, "" for none.
	srcAddress, srcPort string
}

// find returns the rows whose comment says one of these, on whichever interface, in the
// router's order; and the row with this id if it is one of these but for its comment. The
// router does the searching, so that it is cheap with a large table.
func (r *Router) find(ctx context.Context, s *site, id string, wanted ...owned) ([]natRule, error) {
	var queries []string
	for _, o := range wanted {
		queries = append(queries, routeros.Equal("comment", o.String()))
	}
	if id != "" {
		queries = append(queries, routeros.Equal(".id", id))
	}
	for range len(queries) - 1 {
		queries = append(queries, "?#|")
	}
	cmd := routeros.Command{Path: natPath + "/print", Properties: rowProperties(), Queries: queries, Timeout: changeTimeout}
	var found []natRule
	narrowing := otherMatchers()
	_, err := r.each(ctx, cmd, func(sent routeros.Row) error {
		row := parseRow(sent, narrowing)
		// A router that does not understand a query sends all that it has.
		if o, ok := r.sought(row, id, wanted); ok && !row.dynamic && len(found) < maxFound {
			row.id = strings.Clone(row.id)
			found = append(found, natRule{
				owned: o, rule: row.rule(o, s.iface), iface: strings.Clone(row.iface),
				srcAddress: strings.Clone(row.srcAddress), srcPort: strings.Clone(row.srcPort),
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// maxFound is how many rows of one comment are dealt with at a time.
const maxFound = 1024

// sought reports whether the row is one of those wanted, by its comment or, with this id,
// by what its comment was, and which.
func (r *Router) sought(row natRow, id string, wanted []owned) (owned, bool) {
	if o, ok := parseComment(row.comment); ok {
		if at := slices.Index(wanted, o); at >= 0 {
			return wanted[at], true // whose strings are no part of the row's
		}
	}
	if id == "" || row.id != id {
		return owned{}, false
	}
	o, ok := r.deeds.still(row)
	return o, ok && slices.Contains(wanted, o)
}

// is reports whether the row needs no update to be what is wanted.
func (n natRule) is(o owned, want nat.Rule) bool {
	return n.owned == o && !n.rule.Edited && !n.rule.Displaced && n.rule.Match == want.Match && len(n.sources(want.Remote)) == 0
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
