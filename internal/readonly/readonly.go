// Package readonly stands between the core and the two layers, and between the
// clients and the core, when nothing is to be changed (READ_ONLY): reading goes
// through, and what would be changed is logged instead, once for each mapping.
package readonly

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"

	"doublenat/internal/nat"
)

// maxSaid is how many things are remembered as said. Beyond, nothing more is said.
const maxSaid = 4096

// errReadOnly is what clients meet: a policy, hence result code 2 (RFC 6886 §3.5).
var errReadOnly = errors.New("nothing is changed: READ_ONLY is set")

// denied returns the refusal.
func denied() error { return &nat.Error{Reason: nat.ReasonDenied, Err: errReadOnly} }

// Core is what clients are served by, see frontend.Core.
type Core interface {
	Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error)
	Unmap(ctx context.Context, key nat.Key) error
	UnmapAll(ctx context.Context, client netip.Addr, p nat.Protocol) error
}

// Notebook logs what would be done. Its views share it, so that each thing is said
// once. Its methods may be called from several goroutines.
type Notebook struct {
	log *slog.Logger

	mu   sync.Mutex // guards said; held for moments only
	said map[remark]struct{}
}

// remark is one thing that was said: what would happen to what.
type remark struct {
	what string
	key  nat.Key
}

// New returns an empty notebook. A nil logger discards.
func New(log *slog.Logger) *Notebook {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Notebook{log: log, said: make(map[remark]struct{})}
}

// first says whether this was not said yet, and remembers it.
func (n *Notebook) first(what string, key nat.Key) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := remark{what: what, key: key}
	if _, known := n.said[r]; known || len(n.said) >= maxSaid {
		return false
	}
	n.said[r] = struct{}{}
	return true
}

// mapping logs what would be done for a client.
func (n *Notebook) mapping(ctx context.Context, what string, key nat.Key, more ...any) {
	if n.first(what, key) {
		n.log.InfoContext(ctx, "read only, nothing is done", append([]any{
			"would", what,
			"client", key.Client.String(), "proto", key.Protocol.String(), "internal_port", key.InternalPort,
		}, more...)...)
	}
}

// Core returns a core that refuses what clients ask for.
func (n *Notebook) Core() Core { return core{n} }

type core struct{ *Notebook }

// Map refuses.
func (c core) Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error) {
	c.mapping(ctx, "get a public port and add a rule on the router", req.Key,
		"suggested_port", req.SuggestedPort, "lifetime", req.Lifetime)
	return nat.Grant{}, denied()
}

// Unmap refuses.
func (c core) Unmap(ctx context.Context, key nat.Key) error {
	c.mapping(ctx, "remove the rule and give the public port back", key)
	return denied()
}

// UnmapAll refuses.
func (c core) UnmapAll(ctx context.Context, client netip.Addr, p nat.Protocol) error {
	c.mapping(ctx, "remove all rules and give all public ports back", nat.Key{Client: client, Protocol: p})
	return denied()
}

// Hold logs that a mapping would be held, see static.Keeper.
func (n *Notebook) Hold(key nat.Key, suggestedPort uint16) {
	n.mapping(context.Background(), "hold a static mapping", key, "suggested_port", suggestedPort)
}

// Router returns a router that can be read only, and that has no rule of ours for
// the core to adopt: it would lose what it cannot renew, and tell everybody.
func (n *Notebook) Router(inner nat.Router) nat.Router { return router{n, inner} }

type router struct {
	*Notebook

	inner nat.Router
}

var _ nat.Router = router{}

// Rules reads what is there, keeps our own rules back and logs what would become of
// each. A comment that was read first is the one that would be adopted.
func (r router) Rules(ctx context.Context) (nat.Snapshot, error) {
	snap, err := r.inner.Rules(ctx)
	adopted := make(map[nat.Key]bool, len(snap.Rules))
	for _, rule := range snap.Rules {
		would := "adopt the rule and its lease, and remove both unless the client renews"
		switch {
		case rule.Altered:
			would = "replace the rule, which is not as its comment says, while the client renews"
		case adopted[rule.Key]:
			would = "remove the rule, which is there twice"
		}
		adopted[rule.Key] = true
		r.mapping(ctx, would, rule.Key, "inner_port", rule.InnerPort, "external_port", rule.ExternalPort, "rule_id", rule.ID)
	}
	snap.Rules = nil
	return snap, err
}

// AddRule refuses.
func (r router) AddRule(ctx context.Context, want nat.Rule) (nat.Rule, error) {
	r.mapping(ctx, "add a rule", want.Key, "inner_port", want.InnerPort, "external_port", want.ExternalPort)
	return nat.Rule{}, denied()
}

// UpdateRule does nothing, and is said to have worked: what would change is a rule
// that the core does not see.
func (r router) UpdateRule(ctx context.Context, found, want nat.Rule) error {
	r.mapping(ctx, "change a rule", want.Key, "rule_id", found.ID, "external_port", want.ExternalPort)
	return nil
}

// RemoveRule does nothing.
func (r router) RemoveRule(ctx context.Context, rule nat.Rule) error {
	r.mapping(ctx, "remove a rule", rule.Key, "rule_id", rule.ID)
	return nil
}

// Gateway returns a gateway that grants nothing and is asked nothing.
func (n *Notebook) Gateway() nat.Gateway { return gateway{n} }

type gateway struct{ *Notebook }

var _ nat.Gateway = gateway{}

// Lease refuses.
func (g gateway) Lease(ctx context.Context, req nat.LeaseRequest) (nat.Lease, error) {
	if g.first("lease", inner(req.Protocol, req.InnerPort)) {
		g.log.InfoContext(ctx, "read only, nothing is done", "would", "ask the gateway for a lease",
			"proto", req.Protocol.String(), "inner_port", req.InnerPort, "external_port", req.ExternalPort)
	}
	return nat.Lease{}, denied()
}

// Release does nothing.
func (g gateway) Release(ctx context.Context, p nat.Protocol, innerPort uint16) error {
	if g.first("release", inner(p, innerPort)) {
		g.log.InfoContext(ctx, "read only, nothing is done", "would", "give a lease back to the gateway",
			"proto", p.String(), "inner_port", innerPort)
	}
	return nil
}

// inner is the key by which a lease is remembered: it has no client.
func inner(p nat.Protocol, port uint16) nat.Key { return nat.Key{Protocol: p, InternalPort: port} }
