package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"doublenat/internal/remedy"
	"doublenat/internal/router"
)

// Lock is the lock on the router by which several doublenats agree on the active one.
type Lock struct {
	// Redirect says that the active one points the clients' redirects to itself.
	Redirect bool
}

// locked looks at the lock on the router.
type locked struct {
	onRouter

	lock *Lock
}

// Name implements Probe.
func (locked) Name() string { return "lock" }

// Run implements Probe. Whether the router can keep a lock is only tried with --live: entries of an
// address list are written for it, in memory, for as long as half a minute.
func (p locked) Run(ctx context.Context, v *visit) ([]Finding, error) {
	who, err := v.holder(ctx)
	if err != nil {
		return nil, err
	}
	found := []Finding{who}
	if v.cfg.Live == nil {
		found = append(found, good("whether the router can keep a lock was not tried: doublenat check --live"))
	} else {
		tried, err := v.tryLock(ctx)
		if err != nil {
			return found, err
		}
		found = append(found, tried)
	}
	if !p.lock.Redirect {
		return found, nil
	}
	leads, err := v.leads(ctx)
	return append(found, leads...), err
}

// holder says who has the lock, and since when.
func (v *visit) holder(ctx context.Context) (Finding, error) {
	entry, err := router.LookAtLock(ctx, v.api, v.cfg.Instance)
	if _, stuck := errors.AsType[*router.StuckError](err); stuck {
		return failed(onRouter{}.Hop(), err), nil
	}
	switch {
	case err != nil:
		return Finding{}, err
	case entry == nil:
		return good("nobody has the lock: no doublenat with LOCK=router is active"), nil
	case entry.Since.IsZero():
		return good("the lock is taken by an entry that says %s, for another %v", printable(entry.Name), entry.Left), nil
	default:
		return good("%s has had the lock since %s, for another %v unless it renews it", printable(entry.Name), entry.Since.UTC().Format(time.RFC3339), entry.Left), nil
	}
}

// tryLock tries whether the router can keep a lock.
func (v *visit) tryLock(ctx context.Context) (Finding, error) {
	err := router.TryLock(ctx, v.api, v.cfg.Instance)
	_, unfit := errors.AsType[*router.UnfitError](err)
	_, denied := errors.AsType[*router.PermissionError](err)
	switch {
	case unfit || denied:
		return failed(onRouter{}.Hop(), err), nil
	case err != nil:
		return Finding{}, err
	default:
		return good("the router can keep a lock: an entry is refused twice, renewed, and gone in time"), nil
	}
}

// leads says where the redirects lead that the active doublenat points to itself.
func (v *visit) leads(ctx context.Context) ([]Finding, error) {
	rules, err := router.LookAtRedirects(ctx, v.api)
	if _, ok := errors.AsType[*router.RedirectError](err); ok {
		f := failed(onRouter{}.Hop(), fmt.Errorf("the active doublenat cannot point the redirect to itself: %w", err))
		return []Finding{f}, nil
	}
	if err != nil {
		return nil, err
	}
	var leads []string
	for _, rule := range rules {
		if !rule.Disabled {
			leads = append(leads, rule.Port+" to "+printable(rule.To))
		}
	}
	return []Finding{good("the redirects that the active doublenat points to itself lead %s", strings.Join(leads, ", "))}, nil
}

// elsewhere is the finding for a redirect that does not lead to this host. With a lock it leads to
// whoever is active.
func (v *visit) elsewhere(seen string, mend remedy.Command) Finding {
	if v.cfg.Lock != nil {
		return good("%s: the active doublenat points it to itself", seen)
	}
	// The check may be made from some other host.
	return bad(Warn, KindElsewhere, seen, "if doublenat runs on this host, send it here", mend)
}
