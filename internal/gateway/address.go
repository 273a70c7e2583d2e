package gateway

import (
	"context"
	"net/netip"
	"time"

	"doublenat/internal/realm"
)

const (
	// lookTimeout bounds one look at the public address: five packets.
	lookTimeout = 5 * time.Second
	// retryAfter is the wait after a failed look. It does not grow: as long as the
	// gateway is thought to be away, mappings that it took away lead nowhere.
	retryAfter = 5 * time.Second
	// bootRetryAfter is that wait until the gateway has answered once: programs that started
	// before it wait for its first answer.
	bootRetryAfter = time.Second
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

// Settled returns a channel that is closed once the gateway has said, since New, whether it
// has a public address: it told one, or answered with a failure.
func (g *Gateway) Settled() <-chan struct{} { return g.settled }

// setAddress notes what the gateway said.
func (g *Gateway) setAddress(said netip.Addr, at time.Time) {
	now := said
	if !realm.Tellable(said, g.cfg.Address) {
		now = netip.Addr{} // 0.0.0.0 is a gateway's way to say that it has none
	}
	g.mu.Lock()
	news := g.nonsense != said && !now.IsValid()
	g.address, g.addressAt, g.nonsense = now, at, said
	g.mu.Unlock()
	if news && !said.IsUnspecified() {
		g.log.Warn("gateway reports an address that cannot be public: clients get none", "external_address", said)
	}
	g.tellAddress(now)
}

// ageAddress takes back an address that was not confirmed for too long: clients are not
// told it any more, so whoever was told it has to hear of that, and again when it is back.
func (g *Gateway) ageAddress() {
	if _, ok := g.External(); !ok {
		g.tellAddress(netip.Addr{})
	}
}

// tellAddress tells of the address unless it was the last that was told.
func (g *Gateway) tellAddress(now netip.Addr) {
	g.mu.Lock()
	before := g.told
	g.told = now
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
			wait = g.retryAfter()
			g.ageAddress()
		}
		if sleep(ctx, wait, g.poke) {
			sleep(ctx, time.Until(began.Add(lookPause)), nil)
		}
	}
}

// retryAfter returns the wait after a failed look.
func (g *Gateway) retryAfter() time.Duration {
	select {
	case <-g.settled:
		return retryAfter
	default:
		return bootRetryAfter
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
