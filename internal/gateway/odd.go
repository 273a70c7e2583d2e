package gateway

import (
	"time"

	"doublenat/internal/remedy"
	"doublenat/natpmp"
)

// oddInterval is the least time between two lines about one kind of replies that cannot
// be right. Who knows our port can forge some.
const oddInterval = time.Hour

// oddLine is what the log has about one kind of odd replies. Guarded by Gateway.mu.
type oddLine struct {
	told time.Time
	kept int // replies since then that it was not told of
}

// replied tells the log of a reply that cannot be right.
func (g *Gateway) replied(odd natpmp.Oddity, req natpmp.Request, resp natpmp.Response) {
	now := time.Now()
	g.mu.Lock()
	line := g.odd[odd]
	if !line.told.IsZero() && now.Sub(line.told) < oddInterval {
		line.kept++
		g.odd[odd] = line
		g.mu.Unlock()
		return
	}
	g.odd[odd] = oddLine{told: now}
	g.mu.Unlock()
	g.log.Warn("gateway's reply cannot be right", "fault", odd.String(), "proto", req.Opcode.String(),
		"asked_port", req.InternalPort, "suggested_port", req.SuggestedExternalPort,
		"internal_port", resp.InternalPort, "external_port", resp.ExternalPort,
		"suppressed", line.kept, "remedy", remedy.ForOddity(odd))
}
