package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/internal/static"
	"doublenat/natpmp"
)

const (
	// slotsInterval is the least time between two lines about full slots.
	slotsInterval = time.Minute
	// slotsHolders bounds how many clients such a line names.
	slotsHolders = 10
)

// slots watches for mappings that cannot be made because there is no room for them,
// at the gateway or here, and says who has it: an operator can then end what nobody
// needs.
type slots struct {
	static.Core

	log *slog.Logger

	mu   sync.Mutex // guards what follows
	told time.Time  // when the log was last told
	kept int        // failures since then that it was not told of
}

// Map passes a request on.
func (s *slots) Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error) {
	grant, err := s.Core.Map(ctx, req)
	if e, ok := errors.AsType[*nat.Error](err); ok && e.Reason == nat.ReasonResources {
		s.full(ctx, req.Key, e)
	}
	return grant, err
}

// full tells the log, now and then, that there is no room for a mapping.
func (s *slots) full(ctx context.Context, key nat.Key, err *nat.Error) {
	s.mu.Lock()
	if !s.told.IsZero() && time.Since(s.told) < slotsInterval {
		s.kept++
		s.mu.Unlock()
		return
	}
	kept := s.kept
	s.told, s.kept = time.Now(), 0
	s.mu.Unlock()
	advice := remedy.Limit()
	taken, isTaken := errors.AsType[*nat.TakenError](err)
	switch {
	case isTaken:
		advice = remedy.Taken(taken.Rule)
	case err.Hop == nat.HopGateway:
		advice = remedy.ForResult(natpmp.ResultOutOfResources)
	}
	s.log.WarnContext(ctx, "no room for another mapping", "client", key.Client.String(), "proto", key.Protocol.String(),
		"internal_port", key.InternalPort, "full", err.Hop.String(), "error", err, "holders", holdersOf(s.Mappings()),
		"suppressed", kept, "remedy", advice)
}

// holdersOf returns the clients that hold most mappings, each with their number.
func holdersOf(all []nat.Mapping) []string {
	count := make(map[netip.Addr]int)
	for _, m := range all {
		count[m.Key.Client]++
	}
	clients := slices.SortedFunc(maps.Keys(count), func(a, b netip.Addr) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return a.Compare(b)
	})
	var names []string
	for _, c := range clients[:min(len(clients), slotsHolders)] {
		names = append(names, fmt.Sprintf("%s (%d)", c, count[c]))
	}
	return names
}
