package model_test

import (
	"time"

	"doublenat/internal/nat"
)

// gateway is a VPN gateway: it grants leases as its settings have it.
type gateway struct {
	day    *Day
	leases map[slot]grant
	// life caps lifetimes, room the number of leases; 0 for no bound.
	life time.Duration
	room int
	// latency is the time of a round trip.
	latency time.Duration
	// wanders is how likely a renewal gets another port, in percent; shares says that both
	// protocols of an inner port have one external port.
	wanders int
	shares  bool
	// mood is what it does to requests now, and until when.
	mood  mood
	until time.Time
	// upset is when it last did anything but what it was asked.
	upset time.Time
	// moved is when it last gave a lease another port.
	moved time.Time
	// lost is when it last forgot leases.
	lost time.Time
	// pool is what arrives without a gateway, nil if there is one.
	pool *nat.Pool
	traits
}

// change puts another pool in the place of the first.
func (g *gateway) change(to *nat.Pool) {
	g.pool, g.upset = to, g.day.now
	g.day.cfg.Pool = to
	g.day.step(nat.PoolChanged{Pool: to})
}

// pooled says which external port arrives at an inner one.
func (g *gateway) pooled(req nat.LeaseRequest) (time.Duration, nat.Lease, error) {
	external, ok := g.pool.External(req.Protocol, req.InnerPort)
	if !ok {
		return 0, nat.Lease{}, fault(nat.HopGateway, nat.ReasonResources, false)
	}
	g.leases[slot{req.Protocol, req.InnerPort}] = grant{external, g.day.now.Add(req.Lifetime), g.day.life}
	return 0, nat.Lease{ExternalPort: external, Lifetime: req.Lifetime}, nil
}

// slot names a lease: the gateway knows us by one address.
type slot struct {
	protocol nat.Protocol
	inner    uint16
}

type grant struct {
	external uint16
	until    time.Time
	life     int // the last run of the daemon that knows of it
}

// mood is how a layer treats what it is asked.
type mood uint8

const (
	well    mood = iota
	silent       // nothing is done and nothing answered
	deaf         // what is asked is done, and the answer is lost
	refuses      // it says no
	full         // it has no room
	away         // it is not there
)

// lease answers a request. It returns how long that takes.
func (g *gateway) lease(req nat.LeaseRequest, limit time.Duration) (took time.Duration, got nat.Lease, err error) {
	if g.pool != nil {
		return g.pooled(req)
	}
	key := slot{req.Protocol, req.InnerPort}
	if err := g.held(key); err != nil {
		return 0, got, err
	}
	took, err = g.meet(limit)
	if err != nil && !g.isDeaf() {
		g.hold(key, err)
		return took, got, err
	}
	have, known := g.standing(key)
	if !known && g.room > 0 && g.count() >= g.room {
		err := fault(nat.HopGateway, nat.ReasonResources, false)
		g.hold(key, err)
		return took, got, err
	}
	external, none := g.choose(key, have, known, req.ExternalPort)
	if none != nil {
		return took, got, none
	}
	life := g.lifetime(req.Lifetime)
	g.leases[key] = grant{external, g.day.now.Add(took + life), g.day.life}
	return took, nat.Lease{ExternalPort: external, Lifetime: life}, err
}

// choose chooses the external port in the language of the gateway.
func (g *gateway) choose(key slot, have grant, known bool, suggested uint16) (uint16, error) {
	switch {
	case g.kind == byUPnP && known:
		return have.external, nil
	case g.kind == byUPnP:
		return g.next(key, suggested)
	case known && g.second(key, have, suggested):
		return suggested, nil
	default:
		return g.port(key, have, known, suggested), nil
	}
}

// port chooses the external port.
func (g *gateway) port(key slot, have grant, known bool, suggested uint16) uint16 {
	other, paired := g.standing(slot{key.protocol.Other(), key.inner})
	// One that has just moved a port rests: the engine follows so many moves at a time
	// (maxEchoes). Gateways that change it with each request are the first level's.
	rests := !g.moved.IsZero() && g.day.now.Sub(g.moved) < time.Minute
	// What moves while its answers get lost nobody can know before the next request.
	wander := known && g.wanders > 0 && g.day.percent(g.wanders) && !rests && !g.isDeaf()
	switch {
	case known && !wander:
		return have.external
	case g.shares && paired && !wander:
		return other.external
	case suggested != 0 && !wander && !g.taken(key, suggested):
		return suggested
	}
	external := uint16(30000 + g.day.rng.IntN(60))
	for g.taken(key, external) || g.shares && g.taken(slot{key.protocol.Other(), key.inner}, external) {
		external++
	}
	if g.shares && paired {
		other.external = external
		g.leases[slot{key.protocol.Other(), key.inner}] = other
	}
	g.upset, g.moved = g.day.now, g.day.now
	return external
}

// taken says whether somebody else on the gateway's address has the port.
func (g *gateway) taken(key slot, external uint16) bool {
	for have, l := range g.leases {
		if have.protocol == key.protocol && have.inner != key.inner && l.external == external && l.until.After(g.day.now) {
			// Some gateways do not look; one that speaks UPnP is not asked for it.
			return g.shares || g.kind == byUPnP || !g.day.percent(10)
		}
	}
	return g.spared(key, external)
}

func (g *gateway) standing(key slot) (grant, bool) {
	l, ok := g.leases[key]
	return l, ok && l.until.After(g.day.now)
}

func (g *gateway) count() int { return g.beyond(0) }

// beyond counts the leases that stand for longer than a time.
func (g *gateway) beyond(longer time.Duration) (n int) {
	for _, l := range g.leases {
		if l.until.After(g.day.now.Add(longer)) {
			n++
		}
	}
	return n
}

// well says whether nothing went wrong with the gateway lately, and it is quick.
func (g *gateway) well() bool {
	return !recent(g.day, g.upset, 3*time.Minute) && g.until.Add(3*time.Minute).Before(g.day.now) && g.latency < 2*time.Second
}

// known counts the leases that this run of the daemon knows of.
func (g *gateway) known() (n int) {
	for _, l := range g.leases {
		if l.life == g.day.life && l.until.After(g.day.now) {
			n++
		}
	}
	return n
}

// release ends a lease.
func (g *gateway) release(key slot, limit time.Duration) (took time.Duration, err error) {
	if g.pool == nil {
		took, err = g.meet(limit)
	}
	if err == nil || g.isDeaf() {
		delete(g.leases, key)
		delete(g.spare, key)
	}
	return took, err
}

// isDeaf says whether what is asked is done although nobody hears of it.
func (g *gateway) isDeaf() bool { return g.mood == deaf && g.until.After(g.day.now) }

// meet returns how long a request takes, and how it fails if it does.
func (g *gateway) meet(limit time.Duration) (time.Duration, error) {
	took := g.latency
	if took > limit || took > 200*time.Millisecond {
		g.upset = g.day.now
	}
	if took > limit {
		return limit, fault(nat.HopGateway, nat.ReasonUnreachable, true)
	}
	if !g.until.After(g.day.now) {
		return took, nil
	}
	g.upset = g.day.now
	switch g.mood {
	case silent, deaf:
		return limit, fault(nat.HopGateway, nat.ReasonUnreachable, true)
	case refuses:
		return took, fault(nat.HopGateway, nat.ReasonDenied, false)
	case full:
		return took, fault(nat.HopGateway, nat.ReasonResources, false)
	case away:
		return 0, fault(nat.HopGateway, nat.ReasonUnreachable, false)
	case well:
	}
	return took, nil
}

// forget loses all leases, as a restart does.
func (g *gateway) forget() {
	clear(g.leases)
	clear(g.spare)
	clear(g.refused)
	g.upset = g.day.now
}

func fault(hop nat.Hop, reason nat.Reason, ambiguous bool) error {
	return &nat.Error{Hop: hop, Reason: reason, Ambiguous: ambiguous}
}

// opens says whether a pool has an inner port.
func opens(pool *nat.Pool, s slot) bool {
	_, ok := pool.External(s.protocol, s.inner)
	return ok
}
