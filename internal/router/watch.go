package router

import (
	"context"
	"maps"
	"slices"
	"time"
)

// watch reads the surroundings whenever they are due, until ctx ends. Whoever reads the
// rules does so once a minute, and may be busy for longer.
func (r *Router) watch(ctx context.Context) {
	for pause := surroundingsAge; ; {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			pause = r.lookAround(ctx)
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// lookAround reads the surroundings if they are due, and returns when to come again. While
// no rule of ours stands none can be in a wrong place, and the router is left in peace.
func (r *Router) lookAround(ctx context.Context) time.Duration {
	s := r.current(nil)
	if s == nil || r.cfg.ReadOnly || r.deeds.empty() {
		return surroundingsAge
	}
	if wait := time.Until(r.due(s)); wait > 0 {
		return wait
	}
	next, err := r.renew(ctx, s)
	if err != nil {
		return surroundingsAge // The rules are gone, and settle waits for a place.
	}
	return max(time.Until(r.due(next)), confirmAfter)
}

// differs reports whether the rules have to be compared with the router because of what
// was read now and then. Interfaces that go up and down are no reason.
func (s *site) differs(then *site) bool {
	return s.iface != then.iface || s.gateway != then.gateway || !maps.Equal(s.lists, then.lists) || !slices.Equal(s.own, then.own) ||
		!maps.EqualFunc(s.used, then.used, slices.Equal)
}
