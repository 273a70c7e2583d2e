package frontend

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"doublenat/igd"
	"doublenat/internal/datagram"
	"doublenat/internal/nat"
)

var _ igd.Handler = (*Frontend)(nil)

// AddPortMapping makes a mapping as ServeNATPMP does, or renews it. It is held for as long as
// was asked for (see [nat.IGD]). A port that the client has for another of its own ports leads
// to the one that it asks for now (WANIPConnection:2 §2.5.16). The errors are [*igd.ActionError].
func (f *Frontend) AddPortMapping(ctx context.Context, from igd.Arrival, m igd.Mapping, choice igd.Choice) (uint16, error) {
	r := ofIGD(m, choice)
	if choice == igd.Any {
		out := f.outcomeOf(ctx, from, r)
		return out.port, f.answerIGD(ctx, from, "AddAnyPortMapping", r, out)
	}
	const action = "AddPortMapping"
	has, moves := f.holding(from, r.protocol, m.External)
	moves = moves && has.Key.InternalPort != m.Internal
	if moves {
		if err := f.makeWay(ctx, from, has, r); err != nil {
			return 0, f.answerIGD(ctx, from, action, r, outcome{err: err})
		}
	}
	out := f.outcomeOf(ctx, from, r)
	if moves && out.err != nil {
		f.restore(ctx, has)
	}
	if client := from.Client.Addr(); ctx.Err() != nil {
		f.unheard.note(outerPort{client, r.protocol, m.External}, r.key(client), time.Now())
	}
	return out.port, f.answerIGD(ctx, from, action, r, out)
}

// outcomeOf serves a request. Silence is a failure: a connection waits for an answer.
func (f *Frontend) outcomeOf(ctx context.Context, from igd.Arrival, r request) outcome {
	out, ok := f.serve(ctx, from, r)
	if !ok || out.silent && out.err == nil {
		out.err = errNoOutcome
	}
	return out
}

// makeWay ends the client's mapping that has the external port which it asks for on another of
// its ports, unless it is known that this one cannot have it: the client would have neither.
func (f *Frontend) makeWay(ctx context.Context, from igd.Arrival, has nat.Mapping, r request) error {
	client := from.Client.Addr()
	switch {
	case !f.mappable(r.internalPort):
		return errPort
	case !f.Exact(), f.reached(r.key(client)):
		return errOtherPort
	}
	if out, ok := f.room(client); !ok {
		return cmp.Or(out.err, error(errNoOutcome))
	}
	f.gate.give() // The new mapping takes it.
	return f.outcomeOf(ctx, from, endOf(has.Key)).err
}

// reached says whether a client's port has an external port.
func (f *Frontend) reached(key nat.Key) bool {
	return slices.ContainsFunc(f.mappings(), func(m nat.Mapping) bool { return !m.Closing && m.Key == key })
}

// restore makes a mapping again that was ended for one that could not be made: an action that
// fails changes nothing. That goes as far as its external port is still to be had. If the client
// hung up, the other one may be made yet.
func (f *Frontend) restore(ctx context.Context, m nat.Mapping) {
	left := time.Until(m.Until).Truncate(time.Second)
	if ctx.Err() != nil || left <= 0 {
		return
	}
	_, err := f.core.Map(ctx, nat.MapRequest{
		Key: m.Key, SuggestedPort: m.ExternalPort, Exact: true, Lifetime: left, By: m.By, Description: m.Description,
		Filter: nat.Filter{Op: nat.FilterSet, Remote: m.Remote},
	})
	if wrote(err) {
		f.gate.created(m.Key.Client, time.Now())
	}
	if err != nil {
		f.log.DebugContext(ctx, "mapping not restored", "client", m.Key.Client, "internal_port", m.Key.InternalPort, "error", err)
	}
}

// DeletePortMapping ends a mapping of the client that asks, by whatever protocol it was made.
func (f *Frontend) DeletePortMapping(ctx context.Context, from igd.Arrival, p igd.Protocol, external uint16) error {
	key, ok := f.named(from, protocolOfIGD(p), external)
	if !ok {
		f.count.igdAnswered(igd.CodeNoSuchEntry)
		return &igd.ActionError{Action: "DeletePortMapping", Code: igd.CodeNoSuchEntry}
	}
	r := endOf(key)
	return f.answerIGD(ctx, from, "DeletePortMapping", r, f.outcomeOf(ctx, from, r))
}

// named returns which of the client's mappings has an external port, or gets it.
func (f *Frontend) named(from igd.Arrival, p nat.Protocol, external uint16) (nat.Key, bool) {
	if has, ok := f.holding(from, p, external); ok {
		return has.Key, true
	}
	key, ok := f.unheard.take(outerPort{from.Client.Addr(), p, external}, time.Now())
	return key, ok && !f.reached(key)
}

// PortMappings returns the client's mappings, whichever protocol made them, ordered by port.
func (f *Frontend) PortMappings(from igd.Arrival) []igd.Mapping {
	now := time.Now()
	var list []igd.Mapping
	for _, m := range f.mappings() {
		if m.Closing || m.Key.Client != from.Client.Addr() {
			continue
		}
		list = append(list, igd.Mapping{
			Protocol: inIGD(m.Key.Protocol), External: m.ExternalPort, Client: m.Key.Client, Internal: m.Target().Port(),
			Lease: max(m.Until.Sub(now).Truncate(time.Second), time.Second), Description: cmp.Or(m.Description, described(m)),
		})
	}
	return list
}

// described is the description of a mapping to which its client gave none.
func described(m nat.Mapping) string {
	if m.By == 0 {
		return "doublenat"
	}
	return "doublenat " + m.By.String()
}

// Connection returns whether there is a public address, and since when that is so.
func (f *Frontend) Connection() igd.Connection {
	c := igd.Connection{Status: igd.Disconnected}
	if addr, ok := f.external(); ok {
		c.Status, c.Address = igd.Connected, addr
	} else if !f.boot.over() {
		c.Status = igd.Connecting
	}
	c.Uptime = max(time.Since(f.since()), 0)
	return c
}

// Exact says whether clients get the very port that they ask for, as far as the last one knows.
func (f *Frontend) Exact() bool { return !f.otherPorts.Load() }

// holding returns the client's mapping that has an external port.
func (f *Frontend) holding(from igd.Arrival, p nat.Protocol, external uint16) (nat.Mapping, bool) {
	all := f.mappings()
	i := slices.IndexFunc(all, func(m nat.Mapping) bool {
		return !m.Closing && m.Key.Client == from.Client.Addr() && m.Key.Protocol == p && m.ExternalPort == external
	})
	if i < 0 {
		return nat.Mapping{}, false
	}
	return all[i], true
}

// ofIGD returns what a request of UPnP asks for.
func ofIGD(m igd.Mapping, choice igd.Choice) request {
	r := request{
		want: wantMapping, by: nat.IGD, protocol: protocolOfIGD(m.Protocol), internalPort: m.Internal,
		suggested: m.External, lifetime: cmp.Or(m.Lease, nat.MaxHeld), description: m.Description,
	}
	if choice == igd.Exact {
		r.only = m.External
	}
	return r
}

// endOf returns the request that ends a mapping.
func endOf(key nat.Key) request {
	return request{want: wantEnd, by: nat.IGD, protocol: key.Protocol, internalPort: key.InternalPort}
}

func protocolOfIGD(p igd.Protocol) nat.Protocol {
	if p == igd.TCP {
		return nat.TCP
	}
	return nat.UDP
}

func inIGD(p nat.Protocol) igd.Protocol {
	if p == nat.TCP {
		return igd.TCP
	}
	return igd.UDP
}

// answerIGD counts what a client is told, says why it gets another port than the one that it
// asked for, and returns the error for it, nil for success.
func (f *Frontend) answerIGD(ctx context.Context, from datagram.Arrival, action string, r request, out outcome) error {
	code := resultIGD(out.err)
	f.count.igdAnswered(code)
	if f.log.Enabled(ctx, slog.LevelDebug) {
		f.log.DebugContext(ctx, "request answered", "client", from.Client, "by", "igd", "action", action, "proto", r.protocol.String(),
			"internal_port", r.internalPort, "suggested_port", r.suggested, "requested", r.lifetime,
			"result", uint16(code), "external_port", out.port, "took", time.Since(from.At))
	}
	if code == 0 {
		return nil
	}
	if code == igd.CodeConflict {
		f.alarms.otherPort(from.Client.Addr(), r, time.Now())
	}
	return &igd.ActionError{Action: action, Code: code}
}

// resultIGD returns the error code for what became of a request (WANIPConnection:2 §2.5.16),
// and 0 for nil.
func resultIGD(err error) igd.Code {
	if err == nil {
		return 0
	}
	if errors.Is(err, nat.ErrClientFull) {
		return igd.CodeNoPortsLeft
	}
	switch reasonOf(err) {
	case nat.ReasonDenied:
		return igd.CodeNotAuthorized
	case nat.ReasonPort:
		return igd.CodeConflict
	case nat.ReasonResources:
		return igd.CodeNoPortsLeft
	case nat.ReasonUnreachable, nat.ReasonRemotes:
	}
	return igd.CodeActionFailed
}
