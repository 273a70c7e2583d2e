package frontend

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"doublenat/internal/nat"
)

// establish has the core make a mapping or renew it. Renewals cost the router nothing,
// unless they come with another filter, which counts as a new mapping does;
// of new mappings a client gets as many as it has good reason for, and all clients
// together as many as the router's flash can bear.
func (f *Frontend) establish(ctx context.Context, client netip.Addr, arrived time.Time, req request) outcome {
	stands := f.mapped(req.key(client))
	if stands && f.keepers.repeats(req.key(client), req.filter) {
		return f.ask(ctx, client, arrived, req)
	}
	if out, ok := f.room(client); !ok {
		return out
	}
	out := f.ask(ctx, client, arrived, req)
	f.noteGrant(req, out)
	wrote := wrote(out.err) || stands && refiltered(out.err)
	if wrote || ctx.Err() != nil { // Who hung up gets the mapping all the same.
		f.gate.created(client, time.Now())
	}
	if out.err == nil && !stands || !wrote {
		f.gate.give() // What was made, Observe has counted.
	}
	return out
}

// room takes the place of one more new mapping of a client. Where there is none, the outcome is
// what the client is told.
func (f *Frontend) room(client netip.Addr) (out outcome, ok bool) {
	now := time.Now()
	switch f.gate.create(client, now) {
	case createAllowed:
	case createHasty:
		f.count.tooManyCreates.Add(1)
		f.alarms.hasty(client, now, &f.count)
		return outcome{err: errHasty}, false
	case createCrowded:
		// It is not this client's fault, and programs that are refused give up for hours.
		// Those that hear nothing repeat the request, and there may be room then.
		f.count.tooManyInAll.Add(1)
		f.alarms.crowded(now, &f.count)
		return outcome{silent: true}, false
	}
	return outcome{}, true
}

// Observe is to be told of the core's events: each mapping that is made counts, whatever
// made it. A renewal may have to make one that expired while it waited, and a mapping for
// TCP may come with one for UDP. Whose a mapping was is forgotten with it. It does not block.
func (f *Frontend) Observe(ev nat.Event) {
	switch ev.Kind {
	case nat.EventCreated:
		f.gate.charge(time.Now())
	case nat.EventDeleted, nat.EventExpired, nat.EventLost, nat.EventEvicted, nat.EventShutdown:
		f.keepers.forget(ev.Mapping.Key)
	case nat.EventAdopted, nat.EventPortChanged, nat.EventRuleRestored:
	}
}

// StateLost is to be called when the epoch begins anew: clients of PCP may come with other
// nonces then (RFC 6887 §11.1).
func (f *Frontend) StateLost() { f.keepers.stateLost() }

// ask has the core make a mapping or renew it.
func (f *Frontend) ask(ctx context.Context, client netip.Addr, arrived time.Time, req request) outcome {
	grant, err := f.core.Map(ctx, nat.MapRequest{
		Key:           req.key(client),
		SuggestedPort: req.suggested,
		Exact:         req.only != 0,
		Filter:        req.filter,
		Lifetime:      req.lifetime,
		Arrived:       arrived,
		By:            req.by,
		Description:   req.description,
	})
	if err != nil {
		return outcome{err: err}
	}
	return granted(grant, req)
}

// noteGrant notes whether a new mapping has the very port that was asked for.
func (f *Frontend) noteGrant(req request, out outcome) {
	switch {
	case req.suggested == 0:
	case out.err == nil:
		f.otherPorts.Store(out.port != req.suggested)
	case reasonOf(out.err) == nat.ReasonPort:
		f.otherPorts.Store(true)
	}
}

// wrote says whether a create that ended so may have written to the router. One that
// the gateway or a bound refused has not, and may be tried again.
func wrote(err error) bool {
	e, ok := errors.AsType[*nat.Error](err)
	return !ok || e.Hop == nat.HopRouter && e.Ambiguous
}

// refiltered says whether a renewal with another filter that ended so may have written to the
// router, and written back: that waits neither for the gateway nor for the port that a rule of
// somebody else takes. What the core or the router refuses has not.
func refiltered(err error) bool {
	switch e, ok := errors.AsType[*nat.Error](err); {
	case !ok || e.Hop == nat.HopGateway:
		return true
	case e.Hop == nat.HopRouter:
		return e.Reason == nat.ReasonResources
	default:
		return e.Reason == nat.ReasonUnreachable
	}
}
