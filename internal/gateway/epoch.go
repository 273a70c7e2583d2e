package gateway

import (
	"time"

	"doublenat/internal/remedy"
	"doublenat/natpmp"
)

// checkEpoch notices when the gateway lost its state, or when our own clock stood. An
// epoch that jumps again and again, as that of two machines behind one address does,
// causes nothing until it is steady: leases are renewed in their time all the same.
func (g *Gateway) checkEpoch(epoch uint32, at time.Time) {
	g.tellEpoch(g.epoch.Observe(epoch, at), epoch)
}

// tellEpoch does what the news of an epoch calls for.
func (g *Gateway) tellEpoch(news natpmp.EpochNews, epoch uint32) {
	switch news {
	case natpmp.EpochSteady:
	case natpmp.EpochLost:
		g.countEpoch(func(c *counters) { c.stateLosses++ })
		g.log.Warn("gateway lost its mappings", "epoch", epoch)
		g.lookNow()
		g.cfg.OnStateLost()
	case natpmp.EpochAhead:
		g.countEpoch(func(c *counters) { c.clockStops++ })
		g.log.Warn("clock of this host stood still, leases may have ended meanwhile", "epoch", epoch)
		g.lookNow()
		g.cfg.OnClockStood()
	case natpmp.EpochUnreliable:
		g.countEpoch(func(c *counters) { c.epochUnreliable = true })
		g.log.Warn("gateway's epoch jumps back and forth, ignoring it until it is steady", "epoch", epoch, "remedy", remedy.EpochJumps())
	case natpmp.EpochReliable:
		g.countEpoch(func(c *counters) { c.epochUnreliable = false })
		g.log.Info("gateway's epoch is steady again", "epoch", epoch)
		g.lookNow()
		g.cfg.OnStateLost() // Nobody knows what was lost meanwhile.
	}
}

// countEpoch changes the counters.
func (g *Gateway) countEpoch(change func(*counters)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.count)
}
