package check

import (
	"context"
	"fmt"
	"strings"

	"doublenat/internal/remedy"
	"doublenat/internal/walk"
)

// lists looks for rules that ask for an interface list which was deleted: RouterOS
// shows an id in its place, calls the rule valid, and no packet matches it.
type lists struct{ onRouter }

// KindDeletedList is rules that ask for an interface list which does not exist any more.
const KindDeletedList remedy.Kind = "deleted list"

// Name implements Probe.
func (lists) Name() string { return "lists" }

// Run implements Probe.
func (lists) Run(ctx context.Context, v *visit) ([]Finding, error) {
	var found []string
	for _, path := range []string{rawPath, manglePath, natPath, filterPath} {
		rows, err := v.active(ctx, path)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			for _, matcher := range []string{"in-interface-list", "out-interface-list"} {
				if name := row.Value(matcher); strings.HasPrefix(strings.TrimPrefix(name, "!"), "*") {
					found = append(found, fmt.Sprintf("%s (%s=%s)", rowName(walk.Spot{Path: path, Row: row}), matcher, printable(name)))
				}
			}
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	return []Finding{bad(Warn, KindDeletedList,
		fmt.Sprintf("%d rules match an interface list that no longer exists: %s", len(found), strings.Join(found[:min(len(found), maxListed)], "; ")),
		"use an existing list in them, or remove them")}, nil
}
