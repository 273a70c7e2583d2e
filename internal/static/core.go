package static

import (
	"context"
	"errors"
	"net/netip"

	"doublenat/internal/nat"
)

// Core makes and ends mappings, as [nat.Service] does.
type Core interface {
	// Map creates a mapping or renews it.
	Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error)
	// Unmap deletes a mapping. One that does not exist is success.
	Unmap(ctx context.Context, key nat.Key) error
	// UnmapAllBut deletes all mappings of one client and one protocol, those that are
	// being made included, without those to be kept. None is success.
	UnmapAllBut(ctx context.Context, client netip.Addr, p nat.Protocol, keep func(nat.Key) bool) error
	// Mappings returns all mappings.
	Mappings() []nat.Mapping
}

var _ Core = (*nat.Service)(nil)

var (
	errHeld = errors.New("the operator holds this mapping (STATIC_MAPPINGS)")
	errOpen = errors.New("the operator holds this mapping open to everybody (STATIC_MAPPINGS)")
)

// Map passes a request on. One for a mapping that is held is answered like any
// other renewal, and does not make the mapping last shorter. It is refused if it would shut
// anybody out (RFC 6887 §13.3).
func (k *Keeper) Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error) {
	asked := req.Lifetime
	if k.kept[req.Key] != nil && asked > 0 {
		if req.Filter.Remote != (nat.Remote{}) {
			return nat.Grant{}, &nat.Error{Reason: nat.ReasonDenied, Err: errOpen}
		}
		req.Lifetime = max(asked, k.cfg.Lifetime)
	}
	grant, err := k.cfg.Core.Map(ctx, req)
	grant.Lifetime = min(grant.Lifetime, asked)
	return grant, err
}

// Unmap passes a deletion on, unless the mapping is held: what was configured by
// hand a client cannot delete, and is told so (RFC 6886 §3.4).
func (k *Keeper) Unmap(ctx context.Context, key nat.Key) error {
	if k.kept[key] != nil {
		return &nat.Error{Reason: nat.ReasonDenied, Err: errHeld}
	}
	return k.cfg.Core.Unmap(ctx, key)
}

// UnmapAll deletes what the client has beside the mappings that are held, and says
// so if there are any of these.
func (k *Keeper) UnmapAll(ctx context.Context, client netip.Addr, p nat.Protocol) error {
	err := k.cfg.Core.UnmapAllBut(ctx, client, p, func(key nat.Key) bool { return k.kept[key] != nil })
	if k.holdsFor(client, p) {
		return errors.Join(&nat.Error{Reason: nat.ReasonDenied, Err: errHeld}, err)
	}
	return err
}

// Mappings returns all mappings, those that are held among them.
func (k *Keeper) Mappings() []nat.Mapping { return k.cfg.Core.Mappings() }

// holdsFor says whether a mapping of the client and protocol is held.
func (k *Keeper) holdsFor(client netip.Addr, p nat.Protocol) bool {
	for key := range k.kept {
		if key.Client == client && key.Protocol == p {
			return true
		}
	}
	return false
}
