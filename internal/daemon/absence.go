package daemon

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"doublenat/internal/nat"
)

const (
	// absenceLook is how often the router is asked which hosts are there, while something is
	// held for one.
	absenceLook = 10 * time.Minute
	// absenceEnd is how long a host must not have been seen, and must not have asked, to be
	// gone. Consoles sleep for a night.
	absenceEnd = 24 * time.Hour
)

// absence ends the mappings that are held for clients of UPnP that left (RFC 6970 §5.3): they
// never renew, and would keep their ports for seven days. A host that the router has not seen
// before is none of its neighbors, and whether it is there nobody can say.
type absence struct {
	// neighbors is [router.Router.Neighbors].
	neighbors func(ctx context.Context, of []netip.Addr) (seen map[netip.Addr]bool, shown bool, err error)
	mappings  func() []nat.Mapping
	end       func(ctx context.Context, key nat.Key) error
	log       *slog.Logger

	// seen says when each host was seen last for which something is held.
	seen map[netip.Addr]time.Time
}

// absence returns the watch over clients of UPnP.
func (d *Daemon) absence() *absence {
	return &absence{
		neighbors: d.router.Neighbors, mappings: d.service.Mappings, end: d.service.Unmap,
		log: d.log.With("component", "absence"), seen: make(map[netip.Addr]time.Time),
	}
}

// Run looks until ctx ends.
func (a *absence) Run(ctx context.Context) {
	ticker := time.NewTicker(absenceLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.look(ctx)
		}
	}
}

// look ends what is held for hosts that are gone.
func (a *absence) look(ctx context.Context) {
	held := make(map[netip.Addr][]nat.Mapping)
	var hosts []netip.Addr
	for _, m := range a.mappings() {
		if m.By != nat.IGD || m.Closing {
			continue
		}
		if held[m.Key.Client] == nil {
			hosts = append(hosts, m.Key.Client)
		}
		held[m.Key.Client] = append(held[m.Key.Client], m)
	}
	for host := range a.seen {
		if held[host] == nil {
			delete(a.seen, host)
		}
	}
	if len(hosts) == 0 {
		return
	}
	there, shown, err := a.neighbors(ctx, hosts)
	if err != nil || !shown {
		a.log.DebugContext(ctx, "cannot tell which clients are present", "error", err)
		return
	}
	now := time.Now()
	for _, host := range hosts {
		last, known := a.seen[host]
		switch {
		case there[host]:
			a.seen[host] = now
		case known && now.Sub(last) >= absenceEnd:
			a.endAll(ctx, held[host], now)
		}
	}
}

// endAll ends the mappings of a host that is gone, except those that it asked for meanwhile.
func (a *absence) endAll(ctx context.Context, mappings []nat.Mapping, now time.Time) {
	for _, m := range mappings {
		if asked := m.Until.Add(-m.Requested); now.Sub(asked) < absenceEnd {
			continue
		}
		a.log.InfoContext(ctx, "ending a UPnP mapping, its client was not seen for a day",
			"client", m.Key.Client, "proto", m.Key.Protocol.String(), "internal_port", m.Key.InternalPort)
		if err := a.end(ctx, m.Key); err != nil {
			a.log.WarnContext(ctx, "cannot end the mapping of a client that left, retrying", "error", err)
		}
	}
}
