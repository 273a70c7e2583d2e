package gateway

import (
	"context"
	"net/netip"
	"time"
)

const (
	// lookTimeout bounds one look at the public address: five packets.
	lookTimeout = 5 * time.Second
	// retryAfter is the wait after a failed look. It does not grow: as long as the
	// gateway is thought to be away, mappings that it took away lead nowhere.
	retryAfter = 5 * time.Second
	// lookPause is the least time between two looks, whatever they are for. Anybody may
	// send announcements, and a gateway with a broken epoch gives a reason in each reply.
	lookPause = time.Second
)

// External returns the public address from memory. It is false while the address
// is not known, or was not confirmed for too long.
func (g *Gateway) External() (netip.Addr, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.address.IsValid() || time.Since(g.addressAt) > g.cfg.MaxAge {
		return netip.Addr{}, false
	}
	return g.address, true
}

// setAddress notes what the gateway said.
func (g *Gateway) setAddress(now netip.Addr, at time.Time) {
	if now.IsUnspecified() {
		now = netip.Addr{} // 0.0.0.0 is a gateway's way to say that it has none
	}
	g.mu.Lock()
	before := g.address
	g.address, g.addressAt = now, at
	if before != now {
		g.count.addressChanges++
	}
	g.mu.Unlock()
	if before == now {
		return
	}
	g.log.Info("external address changed", "external_address", now, "before", before)
	g.cfg.OnAddressChange(before, now)
}

// lookNow asks for a look at the address before its time.
func (g *Gateway) lookNow() {
	select {
	case g.poke <- struct{}{}:
	default: // somebody asked already
	}
}

// keepAddress looks at the address again and again. It never gives up: a gateway
// may refuse for minutes, or for days.
func (g *Gateway) keepAddress(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		wait := g.cfg.Refresh
		if !g.look(ctx) {
			wait = retryAfter
		}
		if sleep(ctx, wait, g.poke) {
			sleep(ctx, time.Until(began.Add(lookPause)), nil)
		}
	}
}

// sleep waits for the duration or the end of the context, and says whether it was
// woken before.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-wake:
		return true
	case <-ctx.Done():
		return false
	}
}

// look asks for the address once; the reply is taken in as every packet is. It
// says whether there was a success.
func (g *Gateway) look(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	start := time.Now()
	_, err := g.client.ExternalAddress(ctx)
	g.judge(ctx, forAddress, err, start)
	g.note(&g.lastLook, err)
	return err == nil
}
