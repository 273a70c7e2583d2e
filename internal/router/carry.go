package router

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// carry puts the rules of ours that are on a former tunnel interface onto that of s. The
// core would do so too, but in the turn of each client port, which a gateway that does
// not answer keeps waiting. What fails here is left to it.
func (r *Router) carry(ctx context.Context, s *site) {
	if !r.mayChange(ctx) {
		return
	}
	left, err := r.ownRows(ctx, s, func(iface string) bool { return iface != s.iface && (s.owns(iface) || !s.exists(iface)) })
	if err == nil {
		_, err = r.inBatches(ctx, left, routeros.Command{Path: natPath + "/set", Args: []routeros.Attr{{Name: "in-interface", Value: s.iface}}})
	}
	if err != nil {
		r.log.DebugContext(ctx, "rules not moved to the in-interface yet", "error", err)
	}
}

// evacuate removes the rules of ours from the interfaces that run and by which the
// gateway is not reached, from a line to the Internet, and from those that are gone. Those
// who hold them keep their mappings: they are made again once there is a place for them.
func (r *Router) evacuate(ctx context.Context, s *site, why *InterfaceError) (removed int, err error) {
	homeless, err := r.ownRows(ctx, s, func(iface string) bool {
		runs, exists := s.present[iface]
		return (runs || !exists) && (!slices.Contains(why.through, iface) || iface == why.exposed)
	})
	if err != nil {
		return 0, err
	}
	done, err := r.inBatches(ctx, homeless, routeros.Command{Path: natPath + "/remove"})
	for _, n := range done {
		r.deeds.undid(n.owned, n.rule.ID)
	}
	return len(done), err
}

// ownRows returns the rules of ours on interfaces for which on says so, of a table of any
// length.
func (r *Router) ownRows(ctx context.Context, s *site, on func(iface string) bool) (found []natRule, err error) {
	b, narrowing := s.newView(r.cfg.Instance, r.deeds, r.deeds.none()), otherMatchers()
	cmd := routeros.Command{Path: natPath + "/print", Properties: rowProperties()}
	_, err = r.each(ctx, cmd, func(row routeros.Row) error {
		parsed := parseRow(row, narrowing)
		if !on(parsed.iface) {
			return nil
		}
		if o, alien, ours := b.ours(parsed); ours && !alien && len(found) < maxOwn {
			o.instance = r.cfg.Instance
			found = append(found, natRule{owned: o, rule: nat.Rule{ID: clip(parsed.id)}})
		}
		return nil
	})
	return found, err
}

// maxBatch is how many rules one command changes.
const maxBatch = 50

// inBatches carries out a command for rules, many at a time, and returns for which that is
// done. If somebody was faster with one of them RouterOS may have done nothing: then it
// is one by one.
func (r *Router) inBatches(ctx context.Context, rules []natRule, cmd routeros.Command) (done []natRule, err error) {
	for some := range slices.Chunk(rules, maxBatch) {
		err := r.forAll(ctx, some, cmd)
		if routeros.IsNoSuchItem(err) {
			for i := range some {
				if err = r.forAll(ctx, some[i:i+1], cmd); err != nil && !routeros.IsNoSuchItem(err) {
					break
				}
				err = nil
			}
		}
		if err != nil {
			return done, err
		}
		done = append(done, some...)
	}
	return done, nil
}

// forAll sends a command for rules.
func (r *Router) forAll(ctx context.Context, rules []natRule, cmd routeros.Command) error {
	ids := make([]string, len(rules))
	for i, n := range rules {
		ids[i] = n.rule.ID
	}
	cmd.Args = append([]routeros.Attr{{Name: ".id", Value: strings.Join(ids, ",")}}, cmd.Args...)
	cmd.Timeout = changeTimeout
	if _, err := r.do(ctx, cmd); err != nil {
		return fmt.Errorf("%s of %d rules: %w", cmd.Path, len(rules), err)
	}
	return nil
}
