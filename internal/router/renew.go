package router

import (
	"context"
	"errors"
	"slices"
	"time"

	"doublenat/internal/remedy"
)

// confirmAfter is how long something that is not as it should be has to last until
// anything is done about it: RouterOS calls rows invalid and drops routes for some
// seconds while an interface changes.
const confirmAfter = 10 * time.Second

// renew reads the surroundings again if that was long ago, and returns the site as it is
// now. The table counts without them: what fails here fails there too, or passes. The
// error is an [*InterfaceError]: rules have no place any more.
func (r *Router) renew(ctx context.Context, s *site) (*site, error) {
	select {
	case r.looking <- struct{}{}:
	case <-ctx.Done():
		return s, nil
	}
	defer func() { <-r.looking }()
	if s = r.current(s); time.Now().Before(r.due(s)) {
		return s, nil // somebody else has just looked
	}
	addresses := r.addresses.Load()
	now, err := r.explore(ctx, s.iface)
	if missing, ok := errors.AsType[*InterfaceError](err); ok {
		if missing.certain && (!slices.Contains(missing.through, s.iface) || missing.exposed == s.iface) {
			return r.stray(ctx, s, now, missing)
		}
		s, _ = r.stay(s, now)
	}
	if err != nil {
		r.log.DebugContext(ctx, "cannot refresh the router's interfaces and routes", "error", err)
		return s, nil
	}
	next := *s
	next.surroundings = now
	if r.replace(&next, s) {
		r.carry(ctx, &next)
	}
	if next.differs(s) || !r.addresses.Load().equal(addresses) {
		r.askToLook() // also for rules that were made meanwhile
	}
	return &next, nil
}

// current returns the site of this moment, or s while there is none.
func (r *Router) current(s *site) *site {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.site != nil {
		return r.site
	}
	return s
}

// due returns when the surroundings have to be read again: what looks as if rules had no
// place, or as if the gateway were another one, is looked at again soon.
func (r *Router) due(s *site) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	due := s.at.Add(surroundingsAge)
	if again := r.strayed.Add(confirmAfter); !r.strayed.IsZero() && again.Before(due) {
		due = again
	}
	if again := r.hop.since.Add(confirmAfter); r.hop.other.IsValid() && again.Before(due) {
		due = again
	}
	return due
}

// replace makes next what the methods work with, unless something else is by now. It
// reports whether the tunnel is another interface.
func (r *Router) replace(next, s *site) bool {
	r.mu.Lock()
	if r.site != s {
		r.mu.Unlock()
		return false
	}
	moved := r.settleOnLocked(next)
	r.strayed = time.Time{}
	if moved != "" {
		r.layout = layout{strays: r.layout.strays, orphans: r.layout.orphans} // what is in the way differs
	}
	r.mu.Unlock()
	r.takeGateway(next)
	r.tellMove(moved, next)
	return moved != ""
}

// settleOnLocked makes s the site, and returns the tunnel interface that was before if it
// was another one.
func (r *Router) settleOnLocked(s *site) (moved string) {
	if r.lastIface != "" && r.lastIface != s.iface {
		moved = r.lastIface
		r.rememberLocked(moved)
	}
	s.former = r.former
	r.lastIface, r.site = s.iface, s
	return moved
}

// tellMove tells that the tunnel interface is another one, and that the operator named
// one through which the gateway is not reached.
func (r *Router) tellMove(from string, s *site) {
	if from != "" {
		r.log.Warn("in-interface changed, rules move to it", "from", from, "to", s.iface, "found", s.found)
		if r.cfg.OnMove != nil {
			r.cfg.OnMove(from, s.iface)
		}
	}
	r.mu.Lock()
	known := r.told == s.elsewhere
	r.told = s.elsewhere
	r.mu.Unlock()
	if !known && s.elsewhere != "" {
		r.log.Warn("the gateway is reached through another interface than the one that is configured",
			"in_interface", s.iface, "reached_through", s.elsewhere, "remedy", remedy.NoTunnel(s.iface, s.elsewhere))
	}
}

// stray deals with a tunnel interface that is gone, or runs while the gateway is not
// reached through it, and no other can take its place: what comes in through it now is
// not from the gateway. If that lasts, the rules go, and come back with the route.
func (r *Router) stray(ctx context.Context, s *site, now surroundings, why *InterfaceError) (*site, error) {
	next, ok := r.stay(s, now)
	if !ok || !r.vacate(ctx, next, why) {
		return next, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.site == next {
		r.forgetLocked()
	}
	return nil, why
}

// stay makes what was read the site, but for the tunnel interface, which none was found
// for. Ok is false if something else is the site by now.
func (r *Router) stay(s *site, now surroundings) (next *site, ok bool) {
	kept := *s
	kept.lists, kept.used, kept.present, kept.at = now.lists, now.used, now.present, now.at
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.site != s {
		return s, false
	}
	r.site = &kept
	return &kept, true
}

// vacate removes the rules of ours that have no place, and reports whether that is done:
// only if there has been none for a while, as far as the router tells for certain.
func (r *Router) vacate(ctx context.Context, s *site, why *InterfaceError) (done bool) {
	r.mu.Lock()
	if r.strayed.IsZero() {
		r.strayed = time.Now()
	}
	lasts := time.Since(r.strayed) >= confirmAfter
	r.mu.Unlock()
	if !lasts || !why.certain || !r.mayChange(ctx) {
		return false
	}
	removed, err := r.evacuate(ctx, s, why)
	if removed > 0 {
		r.log.ErrorContext(ctx, "the gateway is not reached through the in-interface any more: rules removed until it is",
			"rules", removed, "error", why)
	}
	if r.cfg.OnRemoved != nil {
		r.cfg.OnRemoved()
	}
	if err != nil {
		r.log.WarnContext(ctx, "rules cannot be removed from an interface that does not lead to the gateway", "error", err)
	}
	return err == nil
}

// lookSoon asks for another look at the table once what was found may have passed.
func (r *Router) lookSoon() {
	select {
	case r.doubt <- struct{}{}:
	default: // somebody did
	}
}

// lookAgain asks whoever reads the rules to do so again, a while after each doubt.
func (r *Router) lookAgain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.doubt:
		}
		timer := time.NewTimer(confirmAfter)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		r.askToLook()
	}
}

// askToLook asks whoever reads the rules to do so now.
func (r *Router) askToLook() {
	if r.cfg.OnDoubt != nil {
		r.cfg.OnDoubt()
	}
}

// moved asks for a look if the tunnel interface became another one while a rule was put
// on that of s.
func (r *Router) moved(s *site) {
	if r.current(s).iface != s.iface {
		r.askToLook()
	}
}
