package upnp

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"doublenat/igd"
	"doublenat/internal/nat"
)

// Release ends a lease. One that is not there is success. The error is an [*nat.Error].
func (g *Gateway) Release(ctx context.Context, p nat.Protocol, innerPort uint16) error {
	if err := g.ready(ctx); err != nil {
		return fault(err, false)
	}
	s, err := g.table.enter(ctx, key{p, innerPort})
	if err != nil {
		return fault(err, false)
	}
	defer s.leave()
	if err := g.track(ctx, s); err != nil {
		return fault(err, false)
	}
	for _, port := range g.table.at(s) {
		if err := g.remove(ctx, s, port); err != nil {
			failed, ok := errors.AsType[*igd.CallError](err)
			return fault(err, ok && failed.Ambiguous)
		}
	}
	return nil
}

// track finds out where the mapping is, if the table does not say.
func (g *Gateway) track(ctx context.Context, s *slot) error {
	taken, _ := g.inventory()
	switch {
	case g.table.isStray(s):
		return g.trace(ctx, s)
	case len(g.table.at(s)) > 0 || taken:
		return nil
	}
	// The box does not say what it has. It may be at the port that is asked for first.
	var m igd.Mapping
	err := g.call(ctx, func(ctx context.Context) (err error) {
		m, err = g.client.Find(ctx, igd.Protocol(s.key.protocol), s.key.inner)
		return err
	})
	if self := g.cfg.Self(); err == nil && m.Client == self && m.Internal == s.key.inner {
		g.table.imported(m, false, time.Now())
	}
	if igd.CodeOf(err) != 0 {
		return nil // It is not there, or nobody can know.
	}
	return err
}

// remove removes a mapping and tries again while the box is silent, until the context ends.
func (g *Gateway) remove(ctx context.Context, s *slot, port uint16) error {
	for {
		err := g.removeOnce(ctx, s, port)
		if err == nil || igd.CodeOf(err) != 0 || ctx.Err() != nil || !again(ctx, err) {
			return err
		}
	}
}

// removeOnce removes a mapping. One that is not there is success, and so is one that is
// not ours: since it was granted the box may have restarted, and another host may have
// the port.
func (g *Gateway) removeOnce(ctx context.Context, s *slot, port uint16) error {
	return g.removeFrom(ctx, s, port, g.table.clientOf(s))
}

// removeFrom removes a mapping if it leads to the given address, and to its inner port.
func (g *Gateway) removeFrom(ctx context.Context, s *slot, port uint16, client netip.Addr) error {
	has, err := g.has(ctx, s, port, client)
	switch {
	case err != nil:
		return err
	case has == hasOther:
		g.table.gone(s, port)
		return nil
	default:
		return g.delete(ctx, s, port)
	}
}

// holding is what a box has at a port.
type holding uint8

const (
	// hasUnknown is a box that does not say. It was asked for our mapping, and did not refuse it.
	hasUnknown holding = iota
	// hasOurs is our mapping, hasOther nothing or another one.
	hasOurs
	hasOther
)

// has asks what the box has at a port.
func (g *Gateway) has(ctx context.Context, s *slot, port uint16, client netip.Addr) (holding, error) {
	var m igd.Mapping
	err := g.call(ctx, func(ctx context.Context) (err error) {
		m, err = g.client.Find(ctx, igd.Protocol(s.key.protocol), port)
		return err
	})
	switch code := igd.CodeOf(err); {
	case err == nil && m.Internal == s.key.inner && (m.Client == client || !m.Client.IsValid()):
		return hasOurs, nil
	case err == nil, code == igd.CodeNoSuchEntry, code == igd.CodePortNotFound:
		return hasOther, nil
	case code != 0:
		return hasUnknown, nil
	default:
		return hasUnknown, err
	}
}

// delete removes what is at a port.
func (g *Gateway) delete(ctx context.Context, s *slot, port uint16) error {
	err := g.call(ctx, func(ctx context.Context) error { return g.client.Delete(ctx, igd.Protocol(s.key.protocol), port) })
	if code := igd.CodeOf(err); err == nil || code == igd.CodeNoSuchEntry || code == igd.CodePortNotFound {
		g.table.gone(s, port)
		return nil
	}
	return err
}

// fault turns an error into what the core expects.
func fault(err error, ambiguous bool) *nat.Error {
	e := &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable, Ambiguous: ambiguous, Err: advised(err)}
	switch code := igd.CodeOf(err); code {
	case 0, igd.CodeActionFailed, igd.CodeInvalidAction, igd.CodeNotImplemented:
		if errors.Is(err, errNoPort) {
			e.Reason = nat.ReasonResources
		}
	case igd.CodeConflict, igd.CodeOtherMechanism, igd.CodeNoPortsLeft, igd.CodeOutOfMemory:
		e.Reason = nat.ReasonResources
	default:
		e.Reason = nat.ReasonDenied
	}
	return e
}
