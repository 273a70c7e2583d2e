package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// namingPause is how long a gateway is not asked with a port after it refused a request
// without one, if it refused the request with a port as well.
const namingPause = 10 * time.Minute

// anyPort knows whether a gateway understands suggested port 0, which stands for any
// (RFC 6886 §3.3). Some refuse it, and grant every request that suggests a port. The
// zero value has not been told otherwise. It is safe for concurrent use.
type anyPort struct {
	mu sync.Mutex // guards what follows
	// named is set once the gateway granted a request with a port that it had refused
	// without one: all are made with a port from then on.
	named bool
	// vain is when a request was refused both ways; zero for never.
	vain time.Time
}

// suggests says whether requests are to suggest a port that nobody asked for.
func (a *anyPort) suggests() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.named
}

// worthTrying says whether a refused request may be granted with a port.
func (a *anyPort) worthTrying(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.vain.IsZero() || now.Sub(a.vain) >= namingPause
}

// learn takes in how a request with a port went that had been refused without one. It
// returns true when that was granted for the first time.
func (a *anyPort) learn(err error, now time.Time) (news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		news = !a.named
		a.named, a.vain = true, time.Time{}
		return news
	}
	if refusesPort(err) {
		a.vain = now
	}
	return false
}

// refusesPort says whether an error may be the gateway's answer to a port that it does
// not like.
func refusesPort(err error) bool {
	result, ok := errors.AsType[*natpmp.ResultError](err)
	if !ok {
		return false
	}
	switch result.Result {
	case natpmp.ResultNotAuthorized, natpmp.ResultNetworkFailure, natpmp.ResultOutOfResources:
		return true
	default:
		return false
	}
}

// ask sends a request for a lease. One that suggests no port and is refused is sent
// once more with a port: the inner port's number, so that both protocols of a client's
// port suggest the same one.
func (g *Gateway) ask(ctx context.Context, r natpmp.MapRequest) (natpmp.Mapping, error) {
	zero := !r.Symmetric && r.SuggestedExternalPort == 0
	if zero && g.any.suggests() {
		r.SuggestedExternalPort, zero = r.InternalPort, false
	}
	m, err := g.client.Map(ctx, r)
	if !zero || !refusesPort(err) || !g.any.worthTrying(time.Now()) {
		return m, err
	}
	r.SuggestedExternalPort = r.InternalPort
	m, err = g.client.Map(ctx, r)
	if g.any.learn(err, time.Now()) {
		// The request's context may have ended; that must not cost the line.
		g.log.InfoContext(context.WithoutCancel(ctx), "gateway refuses to choose ports, suggesting them", "external_port", m.ExternalPort)
	}
	return m, err
}

// request returns what is sent for a lease.
func (g *Gateway) request(req nat.LeaseRequest) natpmp.MapRequest {
	r := natpmp.MapRequest{
		Opcode:                natpmp.Opcode(req.Protocol),
		InternalPort:          req.InnerPort,
		SuggestedExternalPort: req.ExternalPort,
		Lifetime:              seconds(req.Lifetime),
		Renewal:               req.Renewal,
	}
	if !g.named.Load() {
		r.Symmetric, r.InternalPort, r.SuggestedExternalPort = true, 0, 0
	}
	return r
}
