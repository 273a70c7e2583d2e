package pcp

import (
	"context"
	"errors"
	"time"

	"doublenat/internal/exchange"
)

// When requests are repeated. RFC 6887 §8.1.1 has a first time of 3 seconds, which SHOULD
// be, for clients that have all the time of the world. Ours have not: whoever asks us asks
// by NAT-PMP, repeats after 250 ms and gives up after seconds (RFC 6886 §3.1), and a lost
// packet must not cost what it waits for. So the first time is NAT-PMP's, and the times
// double from there to the 1024 seconds that the RFC has as the longest.
const (
	firstRetry        = 250 * time.Millisecond
	firstRenewalRetry = time.Second // the mapping stands meanwhile
	allTries          = 13          // the last is made 1024 seconds after the one before
	deletionTries     = 3
)

// schedule returns the times, each with the jitter of RFC 6887 §8.1.1.
func (c *Client) schedule(first time.Duration, tries int) exchange.Schedule {
	return exchange.Schedule{First: first, Tries: tries, Spread: c.memory.spread}
}

// do sends the request, repeats it, and waits for its reply.
func (c *Client) do(ctx context.Context, req Request, s exchange.Schedule, urgent bool) (Response, error) {
	req.Client = c.cfg.Address()
	if !req.Client.IsValid() {
		return Response{}, ErrNoAddress
	}
	if before, changed := c.memory.identify(req.Client); changed {
		c.epoch.Reset() // It may differ for each client (RFC 6887 §8.5).
		c.memory.forgive()
		c.cfg.OnIdentity(before, req.Client)
	}
	a, err := c.exchange.Do(ctx, exchange.Job[callKey, *Request]{
		Key:     callKey{req.Opcode, portKey{req.Map.Protocol, req.Map.InternalPort}},
		Request: &req, Packet: req.Append(make([]byte, 0, headerSize+mapSize+optionHeaderSize)), Schedule: s, Urgent: urgent,
	})
	switch {
	case errors.Is(err, exchange.ErrStopped):
		return Response{}, ErrClientStopped
	case err != nil:
		return Response{}, err
	case a.version != nil:
		return Response{}, a.version
	case a.response.Result != ResultSuccess:
		return Response{}, &ResultError{Opcode: req.Opcode, Result: a.response.Result, Lifetime: seconds(a.response.Lifetime)}
	default:
		return a.response, nil
	}
}

// receive deals with one packet of the gateway.
func (c *Client) receive(ctx context.Context, b []byte) {
	now := time.Now()
	if version, only := VersionOf(b); only {
		all := func(*Request) bool { return true }
		c.exchange.End(all, false, answer{version: &VersionError{Version: version}})
		return
	}
	resp, err := ParseResponse(b)
	if err != nil {
		c.exchange.Ignored()
		c.log.DebugContext(ctx, "packet of the gateway ignored", "error", err)
		return
	}
	match := func(req *Request) bool { return answers(resp, req) }
	if !c.exchange.Expects(match) {
		c.stray(ctx, resp, now)
		return
	}
	c.cfg.OnPacket(resp, now)
	if news := c.epoch.Observe(epochRule(), resp.Epoch, now); news != EpochSteady {
		c.memory.forgive()
		c.cfg.OnEpoch(news, resp.Epoch)
	}
	c.exchange.End(match, true, answer{response: resp})
}

// stray deals with a reply that nobody waits for.
func (c *Client) stray(ctx context.Context, resp Response, now time.Time) {
	if resp.Opcode == OpMap && resp.Result == ResultSuccess && resp.Lifetime != 0 && c.memory.news(resp) {
		c.cfg.OnUpdate(resp, now)
		return
	}
	c.exchange.Ignored()
	c.log.DebugContext(ctx, "reply ignored", "opcode", resp.Opcode, "internal_port", resp.Map.InternalPort)
	c.cfg.OnStray(resp, now)
}

// answers says whether the response can be meant for the request (RFC 6887 §8.3, §11.4).
func answers(resp Response, req *Request) bool {
	asked, told := &req.Map, &resp.Map
	switch {
	case resp.Opcode != req.Opcode:
		return false
	case req.Opcode != OpMap:
		return true
	case told.Nonce != asked.Nonce, told.Protocol != asked.Protocol, told.InternalPort != asked.InternalPort:
		return false
	case resp.Result != ResultSuccess:
		return true
	case req.Lifetime == 0 && resp.Lifetime != 0:
		// A late answer to a request for the mapping that is now to end.
		return false
	case req.Lifetime != 0 && resp.Lifetime == 0 && told.ExternalPort == 0:
		// A late answer to a deletion, after which the port is asked for again.
		return false
	default:
		return true
	}
}
