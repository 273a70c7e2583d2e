package frontend

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The bounds of a [gate].
const (
	// burst is how many seconds' worth of a rate may come at once. Clients repeat a
	// request after 250 ms and many ask for several ports in one go.
	burst = 4
	// createRefill is the time in which a client that made as many mappings as it may
	// at once may do so again. It is less than rememberFor, so that to be forgotten is
	// no advantage.
	createRefill = 4 * time.Minute
	// keptForHolders is which part of what all clients may create at once is kept for
	// those that have a mapping: strangers in any number leave it to them.
	keptForHolders = 4
	// maxVisitors is how many clients are remembered. Each takes some 400 bytes.
	maxVisitors = 4096
	// rememberFor is for how long a client that says nothing is not new when it
	// comes again. Clients with a mapping never are.
	rememberFor = 5 * time.Minute
)

// gate bounds how much is let in: of each client, and of clients that are new; and
// how many requests of a client, and of all, may make a mapping that was not there.
// Without the second bound one host with forged source addresses would be as many
// clients as it likes, each within its own.
type gate struct {
	// rate is each client's in a second, 0 for no bound.
	rate rate.Limit
	// newcomers is the bucket of the clients that are new, nil for no bound.
	newcomers *rate.Limiter
	// creates is how many new mappings of a client come at once, 0 for no bound.
	creates int
	// creations is the bucket for the new mappings of all clients, nil for no bound.
	creations *bucket
	// holds says whether a client has a mapping.
	holds func(netip.Addr) bool

	mu sync.Mutex // guards what follows; held for moments only
	// visitors has the elements of recent by their address.
	visitors map[netip.Addr]*list.Element
	// recent has a visitor in each element, the one seen last in front.
	recent list.List
	// latest is the latest time that a bucket of this gate was asked at.
	latest time.Time
}

// visitor is a client that was let in lately.
type visitor struct {
	client netip.Addr
	bucket *rate.Limiter // nil for no bound
	// creates is the bucket for new mappings, nil if there is no bound, or was none yet.
	creates *rate.Limiter
	seen    time.Time
}

// newGate returns a gate with the bounds of the configuration.
func newGate(cfg *Config) *gate {
	g := &gate{
		rate: rate.Limit(cfg.ClientRate), creates: cfg.CreateBurst,
		creations: newBucket(cfg.CreateRate, cfg.CreateRateBurst),
		holds:     cfg.Holds, visitors: make(map[netip.Addr]*list.Element),
	}
	if cfg.NewClientRate > 0 {
		g.newcomers = rate.NewLimiter(rate.Limit(cfg.NewClientRate), burst*cfg.NewClientRate)
	}
	return g
}

// pass says whether one more request of the client is let in now.
func (g *gate) pass(client netip.Addr, now time.Time) verdict {
	if g.rate == 0 && g.newcomers == nil {
		return admitted
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now = g.orderLocked(now)
	g.forgetLocked(now)
	if g.visitors[client] == nil && g.newcomers != nil && !g.holds(client) && !g.newcomers.AllowN(now, 1) {
		return tooManyNew // It leaves no trace, or forgers would fill the map.
	}
	v := g.visitorLocked(client, now)
	if v.bucket != nil && !v.bucket.AllowN(now, 1) {
		return tooFast
	}
	return admitted
}

// createVerdict is what the gate says about one more mapping.
type createVerdict uint8

const (
	createAllowed createVerdict = iota
	createHasty                 // this client makes too many
	createCrowded               // all clients together do
)

// create says whether the client, which was let in, may make one more mapping now. If so,
// the place is taken; give frees it.
func (g *gate) create(client netip.Addr, now time.Time) createVerdict {
	if !g.mayCreate(client, now) {
		return createHasty
	}
	keep := 0.0
	if g.creations != nil && !g.holds(client) {
		keep = g.creations.size / keptForHolders
	}
	if !g.creations.take(keep, now) {
		return createCrowded
	}
	return createAllowed
}

// give frees the place that create took.
func (g *gate) give() { g.creations.give() }

// charge counts a mapping that was made.
func (g *gate) charge(now time.Time) { g.creations.charge(now) }

// mayCreate says whether the client has not made too many mappings of late.
func (g *gate) mayCreate(client netip.Addr, now time.Time) bool {
	if g.creates == 0 {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now = g.orderLocked(now)
	return g.createsLocked(client, now).TokensAt(now) >= 1
}

// created notes that the client made a mapping. Those that were made side by side
// may be more than there was room for; the client then waits the longer.
func (g *gate) created(client netip.Addr, now time.Time) {
	if g.creates == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now = g.orderLocked(now)
	g.createsLocked(client, now).ReserveN(now, 1)
}

// orderLocked returns the time to ask a bucket at. A [rate.Limiter] that is asked at an
// earlier time than before counts the time in between twice, and of many that looked at
// the clock not the first one comes first.
func (g *gate) orderLocked(now time.Time) time.Time {
	if now.After(g.latest) {
		g.latest = now
	}
	return g.latest
}

// createsLocked returns the client's bucket for new mappings.
func (g *gate) createsLocked(client netip.Addr, now time.Time) *rate.Limiter {
	g.forgetLocked(now)
	v := g.visitorLocked(client, now)
	if v.creates == nil {
		v.creates = rate.NewLimiter(rate.Every(createRefill/time.Duration(g.creates)), g.creates)
	}
	return v.creates
}

// visitorLocked returns a client that is let in, in front of the others. One that is
// not remembered takes the place of who was not seen longest.
func (g *gate) visitorLocked(client netip.Addr, now time.Time) *visitor {
	e := g.visitors[client]
	if e == nil {
		if len(g.visitors) >= maxVisitors {
			g.removeLocked(g.recent.Back())
		}
		e = g.recent.PushFront(g.newVisitor(client))
		g.visitors[client] = e
	}
	g.recent.MoveToFront(e)
	v := visitorIn(e)
	v.seen = now
	return v
}

// newVisitor returns a visitor with a full bucket.
func (g *gate) newVisitor(client netip.Addr) *visitor {
	v := &visitor{client: client}
	if g.rate > 0 {
		v.bucket = rate.NewLimiter(g.rate, burst*int(g.rate))
	}
	return v
}

// visitorIn returns what an element of the list holds.
func visitorIn(e *list.Element) *visitor {
	v, _ := e.Value.(*visitor) // nothing else is put into the list
	return v
}

// forgetLocked drops the visitors that were not seen for long, whose buckets are
// full again by now.
func (g *gate) forgetLocked(now time.Time) {
	for e := g.recent.Back(); e != nil && now.Sub(visitorIn(e).seen) >= rememberFor; e = g.recent.Back() {
		g.removeLocked(e)
	}
}

// removeLocked drops one visitor.
func (g *gate) removeLocked(e *list.Element) {
	g.recent.Remove(e)
	delete(g.visitors, visitorIn(e).client)
}

// size returns how many clients are remembered.
func (g *gate) size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.visitors)
}
