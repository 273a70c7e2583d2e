package nat

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// MapRequest asks for a mapping or for the renewal of one.
type MapRequest struct {
	// Key says for whom; the client is the source of the request (RFC 6886 §3.3).
	Key Key
	// SuggestedPort is the external port that the client would like; 0 for any. It
	// is a hint: a mapping that exists keeps its port whatever is suggested.
	SuggestedPort uint16
	// Lifetime is what the client asks for, more than 0. It is cut to [Config.MaxLifetime].
	Lifetime time.Duration

	// companion marks a request of ours on behalf of the other protocol's.
	companion bool
	// began is when the work on it began, which may wait for its turn.
	began time.Time
}

// Grant is what a client is told about its mapping.
type Grant struct {
	// ExternalPort is the port at the gateway's public address, never 0.
	ExternalPort uint16
	// Lifetime is how long the mapping lasts without a renewal: at least a second,
	// in whole seconds, never more than what was asked for.
	Lifetime time.Duration
}

var (
	errInvalidKey = errors.New("a mapping needs an IPv4 client, a protocol and an internal port, 0 only with ZERO_PORT=external")
	errStopped    = errors.New("shutting down")
	errNoRouter   = errors.New("the router's rules have not been read yet")
)

func (s *Service) valid(k Key) bool {
	return k.Client.Is4() && (k.Protocol == UDP || k.Protocol == TCP) && (k.InternalPort != 0 || s.cfg.ZeroPort)
}

// Map creates the mapping or renews it, and returns when both layers stand.
//
// A renewal that the gateway does not answer within [Config.AnswerBudget] is
// answered with the lifetime that is left, while the renewal goes on. A create
// that meets a slow or absent hop goes on for [Config.CreateTimeout]. Requests
// for one mapping that arrive meanwhile share the one piece of work.
//
// The error is an [*Error]; nothing is left half made then.
func (s *Service) Map(ctx context.Context, req MapRequest) (Grant, error) {
	if !s.valid(req.Key) || req.Lifetime <= 0 {
		return Grant{}, &Error{Reason: ReasonDenied, Err: errInvalidKey}
	}
	req.Lifetime = s.clamp(req.Lifetime)

	op, err := s.startMap(ctx, req)
	if err != nil {
		return Grant{}, err
	}
	return s.await(ctx, op, req)
}

// clamp cuts a lifetime to the configured maximum and to whole seconds. The whole
// 32-bit range is legal in a request, and some gateways overflow (RFC 6886 §3.3).
func (s *Service) clamp(d time.Duration) time.Duration {
	return max(min(d, s.cfg.MaxLifetime).Truncate(time.Second), time.Second)
}

// await waits for the work, but no longer than the client can if the table has
// an answer for it.
func (s *Service) await(ctx context.Context, op *mapOp, req MapRequest) (Grant, error) {
	budget := time.NewTimer(s.cfg.AnswerBudget)
	defer budget.Stop()
	for {
		select {
		case <-op.done:
			if op.err == nil {
				return s.tell(op, req), nil
			}
			if grant, ok := s.grantFromTable(req, op.err); ok {
				return grant, nil
			}
			return Grant{}, op.err
		case <-budget.C:
			if grant, ok := s.grantFromTable(req, nil); ok {
				return grant, nil
			}
		case <-ctx.Done():
			return Grant{}, &Error{Reason: ReasonUnreachable, Err: ctx.Err()}
		}
	}
}

// tell returns the outcome of the work for one of the requests that share it.
func (s *Service) tell(op *mapOp, req MapRequest) Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[req.Key]; e != nil && e.external == op.grant.ExternalPort {
		e.told, e.promised = op.grant.ExternalPort, time.Time{}
	}
	return Grant{ExternalPort: op.grant.ExternalPort, Lifetime: min(op.grant.Lifetime, req.Lifetime)}
}

// grantFromTable answers a renewal without the gateway: failure is what the
// gateway said, or nil when it has not said anything yet.
//
// While the gateway is out of reach a mapping outlives its lease for a while, as
// long as its client keeps asking: the gateway may well still have it, and to some
// programs an error at a renewal means hours without a port.
func (s *Service) grantFromTable(req MapRequest, failure error) (Grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	e := s.entries[req.Key]
	if e == nil || e.closing || !now.Before(e.until) || s.unmatchedLocked(e) {
		return Grant{}, false
	}
	left := min(e.until.Sub(now), max(e.leaseUntil.Sub(now), 0), req.Lifetime).Truncate(time.Second)
	if left < holdOverBelow {
		if !unreachable(failure) || now.After(e.leaseUntil.Add(s.cfg.HoldOver)) {
			return s.promiseLocked(e, left), left > 0
		}
		left = min(holdOverLifetime, req.Lifetime)
		e.until = later(e.until, now.Add(left))
		s.poke()
	}
	return s.promiseLocked(e, left), true
}

// promiseLocked notes what a client is told about a renewal that is outstanding: a
// shorter lease that the gateway grants after that does not end the mapping earlier.
func (s *Service) promiseLocked(e *entry, left time.Duration) Grant {
	if left > 0 {
		e.told, e.promised = e.external, time.Now().Add(left)
	}
	return Grant{ExternalPort: e.external, Lifetime: left}
}

// unreachable says whether a failure leaves hope: no answer yet, or none at all.
func unreachable(failure error) bool {
	if failure == nil {
		return true
	}
	var e *Error
	return errors.As(failure, &e) && e.Reason == ReasonUnreachable
}

// Unmap deletes a mapping. One that does not exist is success (RFC 6886 §3.4),
// unless the operator forwards that port by a rule of his own: a client cannot
// delete that, and is told so with [ReasonDenied].
//
// When the router does not remove the rule the error says why, and the removal is
// tried again until it is done.
func (s *Service) Unmap(ctx context.Context, key Key) error {
	if !s.valid(key) {
		return &Error{Reason: ReasonDenied, Err: errInvalidKey}
	}
	return s.runUnmap(ctx, key)
}

// UnmapAll deletes all mappings of one client and one protocol (RFC 6886 §3.4).
// None is success. When some cannot be deleted the others are, and the error is
// that of the worst: see [Service.Unmap].
func (s *Service) UnmapAll(ctx context.Context, client netip.Addr, p Protocol) error {
	keys := s.keysOf(client, p)
	errs := make([]error, len(keys)+1)
	s.each(len(keys), func(i int) { errs[i] = s.runUnmap(ctx, keys[i]) })
	if s.forwarded(func(f Forward) bool { return f.Key.Client == client && f.Key.Protocol == p }) {
		errs[len(keys)] = &Error{Reason: ReasonDenied, Err: errForeignForward}
	}
	return errors.Join(errs...)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
