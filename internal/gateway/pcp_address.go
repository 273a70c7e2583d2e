package gateway

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"doublenat/natpmp"
	"doublenat/pcp"
)

// learn takes in the public address of a mapping.
func (c *pcpClient) learn(address netip.Addr, at time.Time) {
	c.mu.Lock()
	c.address, c.at, c.stale = address, at, false
	c.mu.Unlock()
	c.gateway.setAddress(address, at)
}

// doubt notes that the public address may be another one.
func (c *pcpClient) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = true
}

// known returns the public address as the latest mapping told it, and whether it needs no
// other mapping to confirm it.
func (c *pcpClient) known(now time.Time) (address netip.Addr, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stale {
		return netip.Addr{}, false
	}
	return c.address, c.address.IsValid() && now.Sub(c.at) < c.maxAge
}

// ExternalAddress asks whether the gateway is there, and confirms the public address by
// that or by a mapping. A gateway that is well and grants no such mapping is no failure:
// the next lease will tell.
func (c *pcpClient) ExternalAddress(ctx context.Context) (netip.Addr, error) {
	if err := c.awaitIdentity(ctx); err != nil {
		return netip.Addr{}, err
	}
	err := c.asks.Announce(ctx)
	if result, ok := errors.AsType[*pcp.ResultError](err); ok && result.Result == pcp.ResultUnsupportedOpcode {
		err = nil // It has answered, with its epoch.
	}
	if err != nil {
		return netip.Addr{}, inNATPMP(natpmp.OpExternalAddress, err)
	}
	address, fresh := c.known(time.Now())
	if fresh {
		c.gateway.setAddress(address, time.Now())
		return address, nil
	}
	return c.ask(ctx, address)
}

// ask makes a mapping to learn the public address, and ends it. Before is the address that
// is good if there can be none.
func (c *pcpClient) ask(ctx context.Context, before netip.Addr) (netip.Addr, error) {
	m, err := c.asks.Map(ctx, pcp.MapRequest{Protocol: pcp.UDP, InternalPort: c.probe, Lifetime: probeLifetime})
	result, refused := errors.AsType[*pcp.ResultError](err)
	switch {
	case err == nil:
		// What is not ended expires.
		_ = c.asks.Unmap(ctx, pcp.UDP, c.probe)
		return m.ExternalAddress, nil
	case refused && result.Result == pcp.ResultNetworkFailure:
		c.gateway.setAddress(netip.Addr{}, time.Now())
	case refused:
		if before.IsValid() {
			c.gateway.setAddress(before, time.Now())
		}
		return before, nil
	}
	return netip.Addr{}, inNATPMP(natpmp.OpExternalAddress, err)
}
