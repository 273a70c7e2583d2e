package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
)

const (
	// againAfter is the pause before a request is made again that was refused by
	// the host, or answered with "network failure".
	againAfter = time.Second
	// maxLifetime is the longest lifetime that is sent and believed, in seconds:
	// some gateways and routers count with 32 bits and a sign.
	maxLifetime = 1<<31 - 1
)

// errNoPort is a success that gives nothing.
var errNoPort = errors.New("gateway granted no port or no time")

// Lease asks for a lease, or for the renewal of one, and keeps asking while the
// gateway is silent, refuses, or has no network, until the context ends.
//
// An external port in the answer that differs from the one that was asked for is
// a success. The error is an [*nat.Error], with Ambiguous set when a request went out
// that has no answer: what was answered to a later one says nothing about it.
func (g *Gateway) Lease(ctx context.Context, req nat.LeaseRequest) (nat.Lease, error) {
	last := &g.lastCreate
	if req.Renewal {
		last = &g.lastRenewal
	}
	lost := false // a packet went out of which nothing was heard
	for {
		start := time.Now()
		r := g.request(req)
		m, err := g.ask(ctx, r)
		g.judge(ctx, forLease, err, start)
		lost = unanswered(err, lost)
		if r.Symmetric && g.unsymmetric(ctx, err) {
			continue
		}
		g.note(last, err)
		switch {
		case err == nil:
			lease, err := granted(m)
			g.note(last, err)
			return lease, err
		case !transient(err):
			return nat.Lease{}, fault(err, lost)
		case ctx.Err() != nil, !pause(ctx, err):
			return nat.Lease{}, fault(err, lost)
		}
	}
}

// Release ends a lease, with a few tries in less than two seconds. One that is
// not there is success (RFC 6886 §3.4). The error is an [*nat.Error].
//
// Of a symmetric mapping nothing is sent: its deletion would name internal port 0, which
// ends all mappings of the tunnel (RFC 6886 §3.4). It ends by itself, or goes to whoever
// asks next.
func (g *Gateway) Release(ctx context.Context, p nat.Protocol, innerPort uint16) error {
	if !g.named.Load() {
		return nil
	}
	start := time.Now()
	err := g.client.Unmap(ctx, natpmp.Opcode(p), innerPort)
	g.judge(ctx, forRelease, err, start)
	if err != nil {
		return fault(err, unanswered(err, false))
	}
	return nil
}

// unsymmetric says whether the gateway refuses internal port 0, as all do that have no
// symmetric mappings. From then on, ports are asked for by name.
func (g *Gateway) unsymmetric(ctx context.Context, err error) bool {
	result, ok := errors.AsType[*natpmp.ResultError](err)
	if !ok || result.Result != natpmp.ResultNotAuthorized {
		return false
	}
	if !g.named.Swap(true) {
		// The request's context may have ended; that must not cost the line.
		g.log.WarnContext(context.WithoutCancel(ctx), "gateway has no symmetric mapping, asking for named ports until the next start",
			"remedy", remedy.NotSymmetric())
	}
	return true
}

// granted checks what a gateway called a success.
func granted(m natpmp.Mapping) (nat.Lease, error) {
	if m.ExternalPort == 0 || m.Lifetime == 0 {
		// With a lifetime there may be something to give back.
		return nat.Lease{}, &nat.Error{
			Hop: nat.HopGateway, Reason: nat.ReasonUnreachable, Ambiguous: m.Lifetime != 0, Err: errNoPort,
		}
	}
	return nat.Lease{
		ExternalPort: m.ExternalPort,
		Lifetime:     time.Duration(min(m.Lifetime, maxLifetime)) * time.Second,
	}, nil
}

// transient says whether asking again may help.
func transient(err error) bool {
	var (
		result  *natpmp.ResultError
		refused *natpmp.RefusedError
		timeout *natpmp.TimeoutError
	)
	if errors.As(err, &result) {
		return result.Result == natpmp.ResultNetworkFailure && !held(err)
	}
	return errors.As(err, &refused) || errors.As(err, &timeout)
}

// unanswered says whether a lease may stand of which nothing was heard: before is
// how it was, err is the latest outcome.
func unanswered(err error, before bool) bool {
	var (
		refused *natpmp.RefusedError
		timeout *natpmp.TimeoutError
	)
	switch {
	case errors.As(err, &timeout):
		return before || timeout.Tries > 0
	case errors.As(err, &refused):
		return before || refused.Tries > 1
	default:
		return before // the gateway may have granted it before it changed its mind
	}
}

// pause waits before the next request. It returns false when the context ended.
func pause(ctx context.Context, err error) bool {
	if _, ok := errors.AsType[*natpmp.TimeoutError](err); ok {
		return true // that took its time already
	}
	timer := time.NewTimer(againAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// fault turns an error of the client into what the core expects.
func fault(err error, ambiguous bool) *nat.Error {
	e := &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable, Ambiguous: ambiguous, Err: err}
	var result *natpmp.ResultError
	if !errors.As(err, &result) {
		return e
	}
	switch result.Result {
	case natpmp.ResultNotAuthorized:
		e.Reason, e.Taken = nat.ReasonDenied, othersLease(err)
	case natpmp.ResultOutOfResources:
		e.Reason = nat.ReasonResources
	case natpmp.ResultNetworkFailure:
	case natpmp.ResultUnsupportedVersion, natpmp.ResultUnsupportedOpcode:
		e.Err = fmt.Errorf("gateway does not speak %s: %w", spoken(err), err)
	default:
		e.Err = fmt.Errorf("gateway answered what RFC 6886 does not know: %w", err)
	}
	return e
}

// seconds returns a lifetime as NAT-PMP has it: at least one second.
func seconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 1), maxLifetime))
}
