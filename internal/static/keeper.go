package static

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"doublenat/internal/nat"
)

// Mapping is one mapping to be held. It is comparable.
type Mapping struct {
	// Key names it.
	Key nat.Key
	// SuggestedPort is the external port to ask for; 0 for any, and after a loss
	// for the one that was granted last.
	SuggestedPort uint16
}

// Config has what a [Keeper] needs. It is not changed after [New].
type Config struct {
	// Core makes and ends mappings. Required.
	Core Core
	// Mappings are to be held, each key at most once. Nil means none; the Keeper is
	// then only in the way.
	Mappings []Mapping
	// Lifetime is what is asked for each time; at least a second. Required.
	Lifetime time.Duration
	// Holds is set when the core renews leases by itself ([nat.PolicyHold]). It is
	// then asked again at half of Lifetime, and else at half of what it granted.
	Holds bool
	// Random returns a number from 0 up to and not including 1, for jitter. It must
	// be safe for concurrent use. Nil means [rand.Float64].
	Random func() float64
	// Logger gets a line when a mapping cannot be had, one each time that the reason is
	// another, and one when it can be had again.
	// Nil discards them.
	Logger *slog.Logger
}

const (
	// retryFirst and retryMax bound the wait after a failure: it doubles, and never
	// ends, for the operator wants the mapping whenever it can be had.
	retryFirst, retryMax = time.Second, time.Minute
	// renewLeast is the shortest time between two renewals.
	renewLeast = 500 * time.Millisecond
)

// Keeper holds the static mappings. It is also the [Core] that others use, see
// [Keeper.Map]. Make one with [New].
type Keeper struct {
	cfg  Config
	log  *slog.Logger
	kept map[nat.Key]*kept // not changed after New
}

// kept is a mapping that is held. Its fields belong to the goroutine that holds it.
type kept struct {
	Mapping

	// ended is signaled when the core says that the mapping is gone.
	ended chan struct{}
	// last is the external port that was granted last; 0 for none.
	last uint16
	// failures counts how often asking failed in a row, and reason is why it did last.
	failures int
	reason   string
}

// New checks the configuration and returns a keeper that does nothing before
// [Keeper.Run].
func New(cfg Config) (*Keeper, error) {
	if cfg.Core == nil || cfg.Lifetime < time.Second {
		return nil, errors.New("static: a core and a lifetime of at least a second are required")
	}
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{cfg: cfg, log: cfg.Logger, kept: make(map[nat.Key]*kept, len(cfg.Mappings))}
	for _, m := range cfg.Mappings {
		if k.kept[m.Key] != nil {
			return nil, errors.New("static: " + m.Key.String() + " is there twice")
		}
		k.kept[m.Key] = &kept{Mapping: m, ended: make(chan struct{}, 1)}
	}
	return k, nil
}

// Run holds the mappings until ctx ends; it then returns nil. It does not take them
// down, which is the core's work when it stops. It is called once.
func (k *Keeper) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	for _, m := range k.cfg.Mappings {
		all.Go(func() { k.hold(ctx, k.kept[m.Key]) })
	}
	<-ctx.Done()
	return nil
}

// hold asks for one mapping again and again.
func (k *Keeper) hold(ctx context.Context, m *kept) {
	for {
		timer := time.NewTimer(k.ask(ctx, m))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-m.ended:
			timer.Stop()
		}
	}
}

// ask asks once and returns how long to wait before the next time.
func (k *Keeper) ask(ctx context.Context, m *kept) time.Duration {
	suggestion := m.SuggestedPort
	if suggestion == 0 {
		suggestion = m.last
	}
	grant, err := k.cfg.Core.Map(ctx, nat.MapRequest{
		Key: m.Key, SuggestedPort: suggestion, Lifetime: k.cfg.Lifetime,
		Filter: nat.Filter{Op: nat.FilterSet}, // Its port may have been a client's that was not open to everybody.
	})
	if err != nil {
		m.failures++
		if reason := err.Error(); reason != m.reason && ctx.Err() == nil {
			m.reason = reason
			k.log.WarnContext(ctx, "static mapping unavailable, retrying", append(attrs(m.Key), "error", err)...)
		}
		return k.jitter(min(retryFirst<<min(m.failures-1, 10), retryMax))
	}
	if m.failures > 0 {
		k.log.InfoContext(ctx, "static mapping available again", append(attrs(m.Key), "external_port", grant.ExternalPort)...)
	}
	m.failures, m.reason, m.last = 0, "", grant.ExternalPort
	life := grant.Lifetime
	if k.cfg.Holds {
		life = k.cfg.Lifetime
	}
	return k.jitter(max(life/2, renewLeast))
}

// jitter shortens a wait by up to a tenth, so that many do not stay in step.
func (k *Keeper) jitter(d time.Duration) time.Duration {
	return d - time.Duration(k.cfg.Random()*float64(d)/10)
}

// Observe is to be told of the core's events: a mapping that ended although it is
// held is asked for again at once. It does not block.
func (k *Keeper) Observe(ev nat.Event) {
	m := k.kept[ev.Mapping.Key]
	if m == nil {
		return
	}
	switch ev.Kind {
	case nat.EventDeleted, nat.EventExpired, nat.EventLost, nat.EventEvicted:
		select {
		case m.ended <- struct{}{}:
		default: // It will look already.
		}
	case nat.EventCreated, nat.EventAdopted, nat.EventPortChanged, nat.EventRuleRestored, nat.EventShutdown:
	}
}

func attrs(key nat.Key) []any {
	return []any{"client", key.Client.String(), "proto", key.Protocol.String(), "internal_port", key.InternalPort}
}
